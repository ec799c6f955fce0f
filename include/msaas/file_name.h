/* What a client called its song -> the name of files and folders made of it. Pure; any thread. */
#ifndef MSAAS_FILE_NAME_H
#define MSAAS_FILE_NAME_H

#define MS_FILE_NAME_BYTES 201 /* with the final NUL */

/* "C:\music\song: 1.mp3" -> "song_ 1": without folders and without the ending of a file of music;
 * what steers a terminal or some system does not allow in names (: * ? " < > |, C0 and the like) is
 * '_'; no dots or blanks at either end; UTF-8, cut between two characters. "" where nothing is
 * left. */
void ms_file_name(const char *song, char out[MS_FILE_NAME_BYTES]);

#endif
