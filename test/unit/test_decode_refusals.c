/* What decoding refuses, and how it says so. */
#include <fcntl.h>

#include "../tools/peak.h"
#include "decode_site.h"

static void too_many_tags_are_refused(void **state) {
    (void)state;
    write_tags("tags.id3", 250000);
    shell("cat tags.id3 one.mp3 > tags.mp3");
    refuse("tags.mp3", MS_EINPUT, "too many tags");
}

/* An upgrade that took a library away, say: no fault of the song's, and the linker's message is
 * seen. */
static void a_decoder_that_does_not_start_is_the_machines_fault(void **state) {
    (void)state;
    const int before = dup(STDERR_FILENO);
    const int said = open("said", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(before >= 0 && dup2(said, STDERR_FILENO) >= 0);
    write_file("libseccomp.so.2", "x", 1);
    assert_int_equal(setenv("LD_LIBRARY_PATH", ".", 1), 0);
    struct ms_error err = {0};
    struct ms_decoder *decoder = NULL;
    const int rc = ms_decoder_open("source.wav", RATE_HZ, &decoder, &err);
    (void)unsetenv("LD_LIBRARY_PATH");
    assert_int_equal(unlink("libseccomp.so.2"), 0);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(said);
    assert_int_equal(rc, MS_EUNSUPPORTED);
    assert_non_null(
        strstr(err.text, "source.wav: the decoder does not start here (exit code 127)"));
    size_t size;
    char *text = read_file("said", &size);
    text[size] = '\0';
    assert_non_null(strstr(text, "libseccomp.so.2"));
    free(text);
}

static void files_that_cannot_be_opened_are_refused(void **state) {
    (void)state;
    refuse("missing.mp3", MS_ENOTFOUND, "No such file");
    refuse("source.wav/x", MS_ENOTFOUND, "Not a directory");
    write_file("empty.mp3", "", 0);
    refuse("empty.mp3", MS_EINPUT, "is empty");
    assert_int_equal(mkdir("folder.mp3", 0700), 0);
    refuse("folder.mp3", MS_EINPUT, "is a folder");
    assert_int_equal(mkfifo("fifo.mp3", 0600), 0);
    refuse("fifo.mp3", MS_EINPUT, "not a regular file");
    refuse("/dev/zero", MS_EINPUT, "not a regular file");
    assert_int_equal(symlink("loop.mp3", "loop.mp3"), 0);
    refuse("loop.mp3", MS_EIO, "symbolic link");
}

/* Root may read everything: a child gives that up first. */
static void a_file_without_permission_is_refused(void **state) {
    (void)state;
    shell("cp source.wav secret.wav; chmod 000 secret.wav; chmod 755 .");
    pid_t pid = fork();
    if (pid == 0) {
        if (geteuid() == 0 && seteuid(65534) != 0)
            _exit(2);
        struct ms_decoder *decoder = NULL;
        struct ms_error err = {0};
        int rc = ms_decoder_open("secret.wav", RATE_HZ, &decoder, &err);
        _exit(rc == MS_EIO && strstr(err.text, "Permission denied") != NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void files_that_are_not_audio_are_refused(void **state) {
    (void)state;
    static const char text[] = "This is a text, whatever its name says.\nIt has two lines.\n";
    write_file("text.mp3", text, sizeof text - 1);
    refuse("text.mp3", MS_EINPUT, "not audio of any known format");
    shell("head -c 100000 /dev/zero > zeros.wav");
    refuse("zeros.wav", MS_EINPUT, "not");
    refuse("silent.mp4", MS_EINPUT, "has no audio stream");
    shell("cp picture.png picture.mp3");
    refuse("picture.mp3", MS_EINPUT, "not an accepted audio format");
}

/* Formats that make FFmpeg open other files, under any name; the file they refer to exists. */
static void playlists_are_refused(void **state) {
    (void)state;
    static const char m3u8[] = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n"
                               "s16.wav\n#EXT-X-ENDLIST\n";
    static const char concat[] = "ffconcat version 1.0\nfile s16.wav\n";
    static const char sdp[] = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
                              "m=audio 5004 RTP/AVP 0\n";
    static const char dash[] =
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\">"
        "<Period><AdaptationSet/></Period></MPD>\n";
    static const struct {
        const char *text;
        const char *names[3];
    } lists[] = {{m3u8, {"list.m3u8", "song.mp3", "song.wav"}},
                 {concat, {"list.ffconcat", "song2.mp3", "song.flac"}},
                 {sdp, {"list.sdp", "song3.mp3", "song.m4a"}},
                 {dash, {"list.mpd", "song4.mp3", "song.ogg"}}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        for (int n = 0; n < 3; n++) {
            write_file(lists[i].names[n], lists[i].text, strlen(lists[i].text));
            refuse(lists[i].names[n], MS_EINPUT, "not a");
        }
    }
}

static void impossible_parameters_are_refused(void **state) {
    (void)state;
    static float data[64 * 1000];
    write_wav("1hz.wav", 3, 2, 1, 32, data, 8000);
    refuse("1hz.wav", MS_EINPUT, "sample rate of 1 Hz");
    write_wav("10mhz.wav", 3, 2, 10000000, 32, data, 8000);
    refuse("10mhz.wav", MS_EINPUT, "sample rate of 10000000 Hz");
    write_wav("7999hz.wav", 3, 2, 7999, 32, data, 8000);
    refuse("7999hz.wav", MS_EINPUT, "sample rate of 7999 Hz");
    write_wav("64.wav", 3, 64, RATE_HZ, 32, data, sizeof data);
    refuse("64.wav", MS_EINPUT, "64 channels");
    write_wav("17.wav", 3, 17, RATE_HZ, 32, data, 17 * 4000);
    refuse("17.wav", MS_EINPUT, "17 channels");
    write_wav("0.wav", 3, 0, RATE_HZ, 32, data, 8000);
    refuse("0.wav", MS_EINPUT, "");
    write_wav("none.wav", 3, 2, RATE_HZ, 32, data, 0);
    refuse("none.wav", MS_EINPUT, "zero samples");
}

static void samples_that_are_no_numbers_are_refused(void **state) {
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        for (int c = 0; c < 2; c++) {
            struct clip clip;
            clip_signal(&clip, FRAMES, RATE_HZ);
            clip.planes[c][FRAMES - 1] = bad[i];
            write_float_wav("nan.wav", &clip, RATE_HZ);
            refuse("nan.wav", MS_EINPUT, "NaN or infinity at 1.");
            write_float_wav("nan48.wav", &clip, 48000);
            refuse("nan48.wav", MS_EINPUT, "NaN or infinity");
            clip_free(&clip);
        }
    }
}

/* The header claims three hours. What is there is used, and no memory is taken for the rest. */
static void a_header_that_claims_hours_is_not_believed(void **state) {
    (void)state;
    uint8_t bytes[44 + 8000] = {0};
    wav_header(bytes, 3, 2, RATE_HZ, 32, 0xf0000000u);
    for (int i = 0; i < 2000; i++)
        put32(bytes + 44 + 4 * i, 0x3e000000u);
    write_file("hours.wav", bytes, sizeof bytes);
    const long begin_kib = peak_begin_kib();
    struct clip clip;
    must_decode("hours.wav", &clip);
    assert_true(clip.frames == 1000 && clip.damaged);
    assert_in_range(peak_growth_kib(begin_kib), 0, 100 * 1024);
    clip_free(&clip);
}

int main(int argc, char **argv) {
    ms_decoder_prepare(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(too_many_tags_are_refused),
        cmocka_unit_test(a_decoder_that_does_not_start_is_the_machines_fault),
        cmocka_unit_test(files_that_cannot_be_opened_are_refused),
        cmocka_unit_test(a_file_without_permission_is_refused),
        cmocka_unit_test(files_that_are_not_audio_are_refused),
        cmocka_unit_test(playlists_are_refused),
        cmocka_unit_test(impossible_parameters_are_refused),
        cmocka_unit_test(samples_that_are_no_numbers_are_refused),
        cmocka_unit_test(a_header_that_claims_hours_is_not_believed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
