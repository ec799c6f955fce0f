/* The signer at work on requests from stdin, one a line, fields split by tabs, each percent-encoded
 * where a tab or line break could be in it: authorization|presign METHOD HOST PATH QUERY PAYLOAD
 * REGION SERVICE ACCESS SECRET TOKEN DATE EXPIRES HEADER... For each, a line: the value of the
 * Authorization header, or the query. For test/contract/test_sigv4.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msaas/sigv4.h"

#define MAX_FIELDS 48
#define FIXED_FIELDS 13

static int answer(char *const fields[], const char *const *headers) {
    const struct ms_sigv4_request request = {
        .method = fields[1],
        .host = fields[2],
        .path = fields[3],
        .query = fields[4],
        .headers = headers,
        .payload_sha256 = fields[5],
        .region = fields[6],
        .service = fields[7],
        .access_key = fields[8],
        .secret_key = fields[9],
        .session_token = fields[10][0] != '\0' ? fields[10] : NULL,
        .amz_date = fields[11],
    };
    char authorization[MS_SIGV4_AUTHORIZATION_MAX];
    struct ms_error err = {0};
    char *query = NULL;
    int rc;
    if (strcmp(fields[0], "presign") == 0)
        rc = ms_sigv4_presign(&request, (int)strtol(fields[12], NULL, 10), &query, &err);
    else
        rc = ms_sigv4_authorization(&request, authorization, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err.text);
    else
        puts(query != NULL ? query : authorization);
    free(query);
    return rc;
}

int main(void) {
    char *line = NULL;
    size_t capacity = 0;
    int rc = 0;
    while (rc == 0 && getline(&line, &capacity, stdin) > 0) {
        char *fields[MAX_FIELDS + 1] = {NULL}, *rest = line;
        line[strcspn(line, "\n")] = '\0';
        int count = 0;
        while (count < MAX_FIELDS && rest != NULL)
            fields[count++] = strsep(&rest, "\t");
        if (count < FIXED_FIELDS)
            rc = -1;
        else
            rc = answer(fields, (const char *const *)fields + FIXED_FIELDS);
    }
    free(line);
    return rc == 0 ? 0 : 1;
}
