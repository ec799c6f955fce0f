/* The zip and pickle readers against files that torch would not write. What torch does write:
 * test/model. */
#include "pickle.h"
#include "tiny_model.h"
#include "zip.h"

#include "import.h"

#define PICKLE(text, out, err) ms_pickle_parse((const uint8_t *)(text), sizeof(text) - 1, out, err)

static void values_are_built(void **state) {
    /* {'a': (1, 2.5, None, True), 'b': [-2, 300], 'f': Fraction('39/5'), 'n': 2**40, 'a' again:
     * 'last'} */
    static const char text[] = "\x80\x02}q\x00("
                               "X\x01\x00\x00\x00"
                               "a(K\x01G\x40\x04\x00\x00\x00\x00\x00\x00N\x88tq\x01"
                               "X\x01\x00\x00\x00"
                               "b](J\xfe\xff\xff\xffM\x2c\x01"
                               "eX\x01\x00\x00\x00"
                               "fcfractions\nFraction\nX\x04\x00\x00\x00"
                               "39/5\x85R"
                               "X\x01\x00\x00\x00"
                               "n\x8a\x06\x00\x00\x00\x00\x00\x01"
                               "X\x01\x00\x00\x00"
                               "t"
                               "h\x01u.";
    const struct ms_pickle_value *root, *value;
    struct ms_pickle *pickle;
    (void)state;
    assert_int_equal(PICKLE(text, &pickle, NULL), 0);
    root = ms_pickle_root(pickle);
    value = ms_pickle_get(root, "a");
    assert_int_equal(value->type, MS_PICKLE_TUPLE);
    assert_int_equal(value->count, 4);
    assert_int_equal(value->items[0]->integer, 1);
    assert_true(value->items[1]->real == 2.5);
    assert_int_equal(value->items[2]->type, MS_PICKLE_NONE);
    assert_int_equal(value->items[3]->integer, 1);
    assert_ptr_equal(ms_pickle_get(root, "t"), value);
    value = ms_pickle_get(root, "b");
    assert_int_equal(value->items[0]->integer, -2);
    assert_int_equal(value->items[1]->integer, 300);
    value = ms_pickle_get(root, "f");
    assert_int_equal(value->integer, 39);
    assert_int_equal(value->denominator, 5);
    assert_true(ms_pickle_get(root, "n")->integer == INT64_C(1) << 40);
    assert_null(ms_pickle_get(root, "z"));
    assert_null(ms_pickle_get(value, "a"));
    ms_pickle_free(pickle);
}

#define REFUSED(text)                                                                              \
    do {                                                                                           \
        struct ms_error err_;                                                                      \
        struct ms_pickle *pickle_;                                                                 \
        if (PICKLE(text, &pickle_, &err_) != MS_EMODEL)                                            \
            fail_msg("accepted: %s", #text);                                                       \
        assert_null(pickle_);                                                                      \
    } while (0)

static void nothing_is_executed(void **state) {
    struct ms_pickle *pickle;
    struct ms_error err;
    (void)state;
    assert_int_equal(PICKLE("\x80\x02"
                            "cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
                            &pickle, &err),
                     MS_EMODEL);
    assert_non_null(strstr(err.text, "os.system"));
    REFUSED("\x80\x02"
            "cbuiltins\neval\nX\x01\x00\x00\x00"
            "1\x85R.");
    REFUSED("ios\nsystem\n(I0\n.");                            /* protocol 0, INST */
    REFUSED("\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N."); /* protocol 4 */
    REFUSED("\x80\x02\x82\x01.");                              /* extension registry */
    REFUSED("\x80\x02"
            "ccollections\nOrderedDict\n)\x81."); /* NEWOBJ */
    REFUSED("\x80\x02"
            "cdemucs.htdemucs\nHTDemucs\n)R."); /* a class that is known, called */
    REFUSED("\x80\x02"
            "ccollections\nOrderedDict\n]\x85R."); /* with arguments */
}

static void malformed_pickles(void **state) {
    (void)state;
    REFUSED("");
    REFUSED(".");
    REFUSED("N");
    REFUSED("NN.");
    REFUSED("(.");
    REFUSED("t.");
    REFUSED("(NNt");
    REFUSED("N\x86.");
    REFUSED("(N\x86.");
    REFUSED("e.");
    REFUSED("](e");
    REFUSED("Na.");
    REFUSED("]a.");
    REFUSED("(a.");
    REFUSED("}(Nu.");
    REFUSED("}NNNu.");
    REFUSED("}Ns.");
    REFUSED("h\x00.");
    REFUSED("j\xff\xff\xff\xff.");
    REFUSED("q\x00.");
    REFUSED("(q\x00.");
    REFUSED("X\xff\xff\xff\xff.");
    REFUSED("K");
    REFUSED("J\x01\x02");
    REFUSED("G\x01");
    REFUSED("\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01.");
    REFUSED("\x8a\x02\x01");
    REFUSED("cno line");
    REFUSED("Q.");
    REFUSED("NQ.");
    REFUSED("(X\x07\x00\x00\x00storageNNNNtQ.");
    REFUSED("R.");
    REFUSED("NNR.");
    REFUSED("Nb.");
    REFUSED("NNb.");
    REFUSED("ctorch._utils\n_rebuild_tensor_v2\n(NK\x00))tR.");
    REFUSED("cfractions\nFraction\nX\x03\x00\x00\x00"
            "1/0\x85R.");
    REFUSED("cfractions\nFraction\nK\x01K\x00\x86R.");
    REFUSED("cfractions\nFraction\n)R.");
}

static void a_list_may_contain_itself(void **state) {
    struct ms_pickle *pickle;
    (void)state;
    assert_int_equal(PICKLE("]q\x00h\x00"
                            "a.",
                            &pickle, NULL),
                     0);
    assert_ptr_equal(ms_pickle_root(pickle)->items[0], ms_pickle_root(pickle));
    ms_pickle_free(pickle);
}

static void growth_is_bounded(void **state) {
    const size_t size = 3 << 20;
    uint8_t *bytes = malloc(size);
    (void)state;
    memset(bytes, 'N', size); /* more values than allowed */
    struct ms_pickle *pickle;
    struct ms_error err;
    assert_int_equal(ms_pickle_parse(bytes, size, &pickle, &err), MS_ENOMEM);
    memset(bytes, '(', size);
    assert_int_equal(ms_pickle_parse(bytes, size, &pickle, &err), MS_ENOMEM);
    bytes[0] = ']';
    bytes[1] = 'q';
    bytes[2] = 0;
    for (size_t i = 3; i + 3 <= size; i += 3)
        memcpy(bytes + i, "h\0a", 3);                                         /* l.append(l) */
    assert_int_equal(ms_pickle_parse(bytes, size, &pickle, &err), MS_EMODEL); /* only cut off */
    free(bytes);
}

/* A stored archive of one member; returns its size. */
static size_t make_zip(uint8_t out[256], const char *name, const void *bytes, size_t size) {
    const uint8_t name_size = (uint8_t)strlen(name);
    const uint8_t low = (uint8_t)size;
    const uint8_t directory = (uint8_t)(30 + name_size + size);
    memset(out, 0, 256);
    memcpy(out, "PK\3\4", 4);
    out[18] = out[22] = low;
    out[26] = name_size;
    memcpy(out + 30, name, name_size);
    memcpy(out + 30 + name_size, bytes, size);
    size_t at = 0;
    at = directory;
    memcpy(out + at, "PK\1\2", 4);
    out[at + 20] = out[at + 24] = low;
    out[at + 28] = name_size;
    memcpy(out + at + 46, name, name_size);
    at += 46u + name_size;
    memcpy(out + at, "PK\5\6", 4);
    out[at + 8] = out[at + 10] = 1;
    out[at + 12] = (uint8_t)(46 + name_size);
    out[at + 16] = directory;
    return at + 22;
}

static void zip_archives(void **state) {
    uint8_t bytes[256];
    (void)state;
    size_t size = make_zip(bytes, "x/data.pkl", "N.", 2);
    struct ms_zip zip;
    assert_int_equal(ms_zip_open(&zip, bytes, size, NULL), 0);
    const struct ms_zip_entry *entry = ms_zip_find(&zip, "x/data.pkl", 10);
    assert_non_null(entry);
    assert_int_equal(entry->size, 2);
    assert_memory_equal(entry->bytes, "N.", 2);
    assert_null(ms_zip_find(&zip, "x/data", 6));
    ms_zip_close(&zip);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut + 1);
        memcpy(part, bytes, cut);
        assert_int_equal(ms_zip_open(&zip, part, cut, NULL), MS_EMODEL);
        free(part);
    }
    for (size_t at = 0; at < size; at++) { /* anything may come of it but no harm */
        for (int bit = 0; bit < 8; bit++) {
            uint8_t *changed = malloc(size);
            memcpy(changed, bytes, size);
            changed[at] ^= (uint8_t)(1 << bit);
            if (ms_zip_open(&zip, changed, size, NULL) == 0)
                ms_zip_close(&zip);
            free(changed);
        }
    }
#define CHANGED(offset, value)                                                                     \
    do {                                                                                           \
        size = make_zip(bytes, "x/data.pkl", "N.", 2);                                             \
        bytes[offset] = (value);                                                                   \
        assert_int_equal(ms_zip_open(&zip, bytes, size, NULL), MS_EMODEL);                         \
    } while (0)
    CHANGED(42 + 10, 8);    /* deflated */
    CHANGED(42 + 8, 1);     /* encrypted */
    CHANGED(42 + 20, 3);    /* sizes differ */
    CHANGED(42 + 42, 1);    /* local header elsewhere */
    CHANGED(42 + 45, 0x7f); /* and far outside */
    CHANGED(26, 200);       /* the member's bytes outside */
    CHANGED(98 + 10, 2);    /* more members than there are */
    CHANGED(98 + 16, 0xff); /* the directory elsewhere */
}

static void packages_of_other_things(void **state) {
    uint8_t bytes[256];
    (void)state;
    size_t size = make_zip(bytes, "x/data.pkl", "N.", 2);
    struct ms_imported imported;
    struct ms_error err;
    assert_int_equal(ms_import_bytes(bytes, size, &imported, &err), MS_EMODEL);
    assert_non_null(strstr(err.text, "HTDemucs"));
    size = make_zip(bytes, "x/other.pkl", "N.", 2);
    assert_int_equal(ms_import_bytes(bytes, size, &imported, &err), MS_EMODEL);
    size = make_zip(bytes, "x/y/data.pkl", "N.", 2);
    assert_int_equal(ms_import_bytes(bytes, size, &imported, &err), MS_EMODEL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_built),         cmocka_unit_test(nothing_is_executed),
        cmocka_unit_test(malformed_pickles),        cmocka_unit_test(a_list_may_contain_itself),
        cmocka_unit_test(growth_is_bounded),        cmocka_unit_test(zip_archives),
        cmocka_unit_test(packages_of_other_things),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
