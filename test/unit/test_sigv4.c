/* The signer on the examples that AWS publishes for S3 ("Signature Calculations for the
 * Authorization Header", "Using Query Parameters"). test/contract/test_sigv4.py compares it with
 * botocore on many more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "msaas/sigv4.h"

#define DATE "20130524T000000Z"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static struct ms_sigv4_request example(const char *method, const char *path, const char *query,
                                       const char *const *headers, const char *payload) {
    return (struct ms_sigv4_request){
        .method = method,
        .host = "examplebucket.s3.amazonaws.com",
        .path = path,
        .query = query,
        .headers = headers,
        .payload_sha256 = payload,
        .region = "us-east-1",
        .service = "s3",
        .access_key = "AKIAIOSFODNN7EXAMPLE",
        .secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        .amz_date = DATE,
    };
}

static void check(const struct ms_sigv4_request *request, const char *names,
                  const char *signature) {
    char out[MS_SIGV4_AUTHORIZATION_MAX];
    struct ms_error err = {0};
    assert_int_equal(ms_sigv4_authorization(request, out, &err), 0);
    char wanted[MS_SIGV4_AUTHORIZATION_MAX];
    snprintf(wanted, sizeof wanted,
             "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,"
             "SignedHeaders=%s,Signature=%s",
             names, signature);
    assert_string_equal(out, wanted);
}

static void gets_an_object(void **state) {
    const char *const headers[] = {"Range: bytes=0-9", "x-amz-content-sha256: " EMPTY,
                                   "x-amz-date: " DATE, NULL};
    const struct ms_sigv4_request request = example("GET", "/test.txt", "", headers, EMPTY);
    (void)state;
    check(&request, "host;range;x-amz-content-sha256;x-amz-date",
          "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void puts_an_object(void **state) {
#define PAYLOAD "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
    /* In another order than they are signed in, one with spaces that do not count. */
    const char *const headers[] = {"x-amz-storage-class:   REDUCED_REDUNDANCY ",
                                   "x-amz-date: " DATE, "Date: Fri, 24  May 2013 00:00:00 GMT",
                                   "x-amz-content-sha256: " PAYLOAD, NULL};
    const struct ms_sigv4_request request =
        example("PUT", "/test%24file.text", "", headers, PAYLOAD);

    (void)state;
    check(&request, "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
          "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void reads_a_buckets_life_cycle(void **state) {
    const char *const headers[] = {"x-amz-content-sha256: " EMPTY, "x-amz-date: " DATE, NULL};
    const struct ms_sigv4_request request = example("GET", "/", "lifecycle", headers, EMPTY);
    (void)state;
    check(&request, "host;x-amz-content-sha256;x-amz-date",
          "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void lists_a_bucket(void **state) {
    const char *const headers[] = {"x-amz-content-sha256: " EMPTY, "x-amz-date: " DATE, NULL};
    const char *const queries[] = {"max-keys=2&prefix=J", "prefix=J&max-keys=2"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        const struct ms_sigv4_request request = example("GET", "/", queries[i], headers, EMPTY);
        check(&request, "host;x-amz-content-sha256;x-amz-date",
              "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
    }
}

static void presigns_a_get(void **state) {
    const struct ms_sigv4_request request =
        example("GET", "/test.txt", "", NULL, "UNSIGNED-PAYLOAD");
    char *query = NULL;
    (void)state;
    assert_int_equal(ms_sigv4_presign(&request, 86400, &query, NULL), 0);
    assert_string_equal(
        query, "X-Amz-Algorithm=AWS4-HMAC-SHA256"
               "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
               "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
               "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    free(query);
}

static void refuses_what_it_cannot_sign(void **state) {
    const char *const no_header[] = {"no colon", NULL};
    struct ms_sigv4_request request = example("GET", "/", "", no_header, EMPTY);
    char out[MS_SIGV4_AUTHORIZATION_MAX], many[70 * 3] = "";
    struct ms_error err = {0};
    (void)state;
    assert_int_equal(ms_sigv4_authorization(&request, out, &err), MS_EUSAGE);
    request.headers = NULL;
    request.amz_date = "yesterday";
    assert_int_equal(ms_sigv4_authorization(&request, out, &err), MS_EINTERNAL);
    char *query = NULL;
    assert_int_equal(ms_sigv4_presign(&request, 1, &query, &err), MS_EINTERNAL);
    assert_null(query);
    request.amz_date = DATE;
    for (int i = 0; i < 69; i++)
        strcat(many, "&a=");
    request.query = many;
    assert_int_equal(ms_sigv4_authorization(&request, out, &err), MS_EUSAGE);
    request.query = "";
    char *long_key = calloc(1, MS_SIGV4_AUTHORIZATION_MAX);
    assert_non_null(long_key);
    memset(long_key, 'A', MS_SIGV4_AUTHORIZATION_MAX - 1);
    request.access_key = long_key;
    assert_int_equal(ms_sigv4_authorization(&request, out, &err), MS_EUSAGE);
    assert_null(strstr(err.text, request.secret_key));
    free(long_key);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_an_object),
        cmocka_unit_test(puts_an_object),
        cmocka_unit_test(reads_a_buckets_life_cycle),
        cmocka_unit_test(lists_a_bucket),
        cmocka_unit_test(presigns_a_get),
        cmocka_unit_test(refuses_what_it_cannot_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
