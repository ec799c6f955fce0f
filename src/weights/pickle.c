/* The inner shell of upstream's .th files. A stack machine over the few opcodes that such files
 * use. Owns the values; any thread.
 *
 * A pickle is a program. Here it can only build values of the kinds in the header: GLOBAL notes a
 * name from a short list, REDUCE builds what the named function would make, and everything else is
 * refused. */
#include "pickle.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BYTES ((size_t)16 << 20)
#define MAX_VALUES ((size_t)1 << 20)
#define MAX_ITEMS ((size_t)1 << 22)
#define MAX_STACK ((size_t)1 << 20)
#define CHUNK 1024

/* Values never move: they point at one another. */
struct chunk {
    struct chunk *next;
    size_t used;
    struct ms_pickle_value values[CHUNK];
};

struct array {
    size_t count, capacity;
    struct ms_pickle_value **at;
};

struct ms_pickle {
    const uint8_t *at, *end;
    struct chunk *chunks;
    size_t value_count, item_count;
    struct array stack; /* NULL: a mark */
    struct array memo;  /* NULL: never put */
    struct ms_error *err;
    const struct ms_pickle_value *root;
};

static int refuse(struct ms_pickle *pickle, const char *fmt, ...) MS_PRINTF(2, 3);

static int refuse(struct ms_pickle *pickle, const char *fmt, ...) {
    char text[200];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return ms_error_set(pickle->err, MS_EMODEL, "its pickle is not one of a Demucs model: %s",
                        text);
}

static int no_memory(struct ms_pickle *pickle) {
    return ms_error_set(pickle->err, MS_ENOMEM, "no memory for a pickle");
}

/* ---- values ---- */

static struct ms_pickle_value *new_value(struct ms_pickle *pickle, enum ms_pickle_type type) {
    if (pickle->chunks == NULL || pickle->chunks->used == CHUNK) {
        struct chunk *chunk;
        if (pickle->value_count >= MAX_VALUES || (chunk = calloc(1, sizeof *chunk)) == NULL)
            return NULL;
        chunk->next = pickle->chunks;
        pickle->chunks = chunk;
    }
    struct ms_pickle_value *value = &pickle->chunks->values[pickle->chunks->used++];
    value->type = type;
    pickle->value_count++;
    return value;
}

static bool add_item(struct ms_pickle *pickle, struct ms_pickle_value *to,
                     const struct ms_pickle_value *item) {
    if (to->count == to->capacity) {
        const size_t capacity = to->capacity > 0 ? 2 * to->capacity : 4;
        const struct ms_pickle_value **grown = realloc(to->items, capacity * sizeof(*grown));
        if (grown == NULL)
            return false;
        to->items = grown;
        to->capacity = capacity;
    }
    if (++pickle->item_count > MAX_ITEMS)
        return false;
    to->items[to->count++] = item;
    return true;
}

static bool array_reach(struct array *array, size_t index, size_t limit) {
    size_t capacity = array->capacity > 0 ? array->capacity : 64;
    if (index >= limit)
        return false;
    while (capacity <= index)
        capacity *= 2;
    if (capacity == array->capacity)
        return true;
    struct ms_pickle_value **grown = realloc(array->at, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    memset(grown + array->capacity, 0, (capacity - array->capacity) * sizeof(*grown));
    array->at = grown;
    array->capacity = capacity;
    return true;
}

static int push(struct ms_pickle *pickle, struct ms_pickle_value *value) {
    if (!array_reach(&pickle->stack, pickle->stack.count, MAX_STACK))
        return no_memory(pickle);
    pickle->stack.at[pickle->stack.count++] = value;
    return 0;
}

/* NULL where the stack is empty or a mark is on top. */
static struct ms_pickle_value *pop(struct ms_pickle *pickle) {
    if (pickle->stack.count == 0 || pickle->stack.at[pickle->stack.count - 1] == NULL)
        return NULL;
    return pickle->stack.at[--pickle->stack.count];
}

static struct ms_pickle_value *top(const struct ms_pickle *pickle) {
    return pickle->stack.count > 0 ? pickle->stack.at[pickle->stack.count - 1] : NULL;
}

/* Number of values above the last mark; -1 where there is none. */
static int64_t above_mark(const struct ms_pickle *pickle) {
    for (size_t i = pickle->stack.count; i > 0; i--)
        if (pickle->stack.at[i - 1] == NULL)
            return (int64_t)(pickle->stack.count - i);
    return -1;
}

static int push_new(struct ms_pickle *pickle, enum ms_pickle_type type,
                    struct ms_pickle_value **out) {
    *out = new_value(pickle, type);
    return *out != NULL ? push(pickle, *out) : no_memory(pickle);
}

/* ---- input ---- */

static bool take(struct ms_pickle *pickle, size_t size, const uint8_t **out) {
    if ((size_t)(pickle->end - pickle->at) < size)
        return false;
    *out = pickle->at;
    pickle->at += size;
    return true;
}

/* Little-endian, unsigned. */
static bool take_number(struct ms_pickle *pickle, size_t size, uint64_t *out) {
    const uint8_t *bytes;
    if (!take(pickle, size, &bytes))
        return false;
    *out = 0;
    for (size_t i = 0; i < size; i++)
        *out |= (uint64_t)bytes[i] << (8 * i);
    return true;
}

static bool take_line(struct ms_pickle *pickle, const char **text, size_t *size) {
    const uint8_t *end = memchr(pickle->at, '\n', (size_t)(pickle->end - pickle->at));
    if (end == NULL)
        return false;
    *text = (const char *)pickle->at;
    *size = (size_t)(end - pickle->at);
    pickle->at = end + 1;
    return true;
}

/* ---- names and what they make ---- */

/* "module\nname", as it stands in the pickle */
static const char *const known_names[] = {
    "collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2",
    "torch\nHalfStorage",       "torch\nFloatStorage",
    "fractions\nFraction",      "demucs.htdemucs\nHTDemucs",
};
enum {
    ORDERED_DICT,
    REBUILD_TENSOR,
    HALF_STORAGE,
    FLOAT_STORAGE,
    FRACTION,
    NAMES = sizeof known_names / sizeof *known_names
};

static bool is_name(const struct ms_pickle_value *value, int name) {
    return value->type == MS_PICKLE_NAME && ms_pickle_is_text(value, known_names[name]);
}

static int global(struct ms_pickle *pickle) {
    const char *module, *name;
    size_t module_size, name_size;
    if (!take_line(pickle, &module, &module_size) || !take_line(pickle, &name, &name_size))
        return refuse(pickle, "it is cut off");
    struct ms_pickle_value *value;
    for (int i = 0; i < NAMES; i++) {
        const size_t size = module_size + 1 + name_size;
        if (strlen(known_names[i]) == size && memcmp(known_names[i], module, size) == 0) {
            const int rc = push_new(pickle, MS_PICKLE_NAME, &value);
            if (rc == 0) {
                value->text = module;
                value->text_size = size;
            }
            return rc;
        }
    }
    return refuse(pickle, "it uses %.*s.%.*s", module_size < 60 ? (int)module_size : 60, module,
                  name_size < 60 ? (int)name_size : 60, name);
}

static bool integers(const struct ms_pickle_value *tuple, int64_t *out, int *count) {
    if (tuple->type != MS_PICKLE_TUPLE || tuple->count > MS_PICKLE_MAX_DIMS)
        return false;
    for (size_t i = 0; i < tuple->count; i++) {
        if (tuple->items[i]->type != MS_PICKLE_INT || tuple->items[i]->integer < 0)
            return false;
        out[i] = tuple->items[i]->integer;
    }
    *count = (int)tuple->count;
    return true;
}

/* _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks) */
static int rebuild_tensor(struct ms_pickle *pickle, const struct ms_pickle_value *args) {
    if (args->count < 4 || args->items[0]->type != MS_PICKLE_STORAGE ||
        args->items[1]->type != MS_PICKLE_INT || args->items[1]->integer < 0)
        return refuse(pickle, "a tensor has no storage or offset");
    struct ms_pickle_value *value;
    const int rc = push_new(pickle, MS_PICKLE_TENSOR, &value);
    if (rc != 0)
        return rc;
    value->tensor = calloc(1, sizeof *value->tensor);
    if (value->tensor == NULL || !add_item(pickle, value, args->items[0]))
        return no_memory(pickle);
    value->tensor->offset = args->items[1]->integer;
    int strides;
    if (!integers(args->items[2], value->tensor->shape, &value->tensor->dims) ||
        !integers(args->items[3], value->tensor->stride, &strides) ||
        strides != value->tensor->dims)
        return refuse(pickle, "a tensor has no shape, or more than %d dimensions",
                      MS_PICKLE_MAX_DIMS);
    return 0;
}

/* "39/5" */
static bool parse_fraction(const struct ms_pickle_value *text, int64_t *numerator,
                           int64_t *denominator) {
    char copy[48];
    if (text->type != MS_PICKLE_TEXT || text->text_size >= sizeof copy)
        return false;
    memcpy(copy, text->text, text->text_size);
    copy[text->text_size] = '\0';
    char *end;
    *numerator = strtoll(copy, &end, 10);
    *denominator = 1;
    if (*end == '/')
        *denominator = strtoll(end + 1, &end, 10);
    return end != copy && *end == '\0' && *denominator > 0;
}

static int fraction(struct ms_pickle *pickle, const struct ms_pickle_value *args) {
    struct ms_pickle_value *value;
    int rc = push_new(pickle, MS_PICKLE_FRACTION, &value);
    if (rc != 0)
        return rc;
    if (args->count == 1 && parse_fraction(args->items[0], &value->integer, &value->denominator))
        return 0;
    if (args->count != 2 || args->items[0]->type != MS_PICKLE_INT ||
        args->items[1]->type != MS_PICKLE_INT || args->items[1]->integer <= 0)
        return refuse(pickle, "a fraction is malformed");
    value->integer = args->items[0]->integer;
    value->denominator = args->items[1]->integer;
    return 0;
}

static int reduce(struct ms_pickle *pickle) {
    const struct ms_pickle_value *args = pop(pickle);
    const struct ms_pickle_value *callee = pop(pickle);
    if (args == NULL || callee == NULL || args->type != MS_PICKLE_TUPLE)
        return refuse(pickle, "a call has no arguments");
    struct ms_pickle_value *value;
    if (is_name(callee, ORDERED_DICT) && args->count == 0)
        return push_new(pickle, MS_PICKLE_DICT, &value);
    if (is_name(callee, REBUILD_TENSOR))
        return rebuild_tensor(pickle, args);
    if (is_name(callee, FRACTION))
        return fraction(pickle, args);
    return refuse(pickle, "it calls an unknown function");
}

/* ('storage', class, key, device, number of values) */
static int persistent(struct ms_pickle *pickle) {
    const struct ms_pickle_value *id = pop(pickle);
    if (id == NULL || id->type != MS_PICKLE_TUPLE || id->count != 5 ||
        !ms_pickle_is_text(id->items[0], "storage") || id->items[2]->type != MS_PICKLE_TEXT ||
        id->items[4]->type != MS_PICKLE_INT || id->items[4]->integer < 0)
        return refuse(pickle, "a persistent id is not a storage");
    if (!is_name(id->items[1], HALF_STORAGE) && !is_name(id->items[1], FLOAT_STORAGE))
        return refuse(pickle, "a storage holds neither float16 nor float32");
    struct ms_pickle_value *value;
    const int rc = push_new(pickle, MS_PICKLE_STORAGE, &value);
    if (rc != 0)
        return rc;
    value->half = is_name(id->items[1], HALF_STORAGE);
    value->text = id->items[2]->text;
    value->text_size = id->items[2]->text_size;
    value->integer = id->items[4]->integer;
    return 0;
}

/* ---- opcodes ---- */

/* The topmost `count` values become the items of one new value. */
static int gather(struct ms_pickle *pickle, enum ms_pickle_type type, size_t count, bool marked) {
    if (pickle->stack.count < count + marked)
        return refuse(pickle, "a tuple has more items than the stack");
    const size_t first = pickle->stack.count - count;
    struct ms_pickle_value *value = new_value(pickle, type);
    if (value == NULL)
        return no_memory(pickle);
    for (size_t i = first; i < pickle->stack.count; i++) {
        if (pickle->stack.at[i] == NULL)
            return refuse(pickle, "a tuple has more items than the stack");
        if (!add_item(pickle, value, pickle->stack.at[i]))
            return no_memory(pickle);
    }
    pickle->stack.count = first - marked;
    return push(pickle, value);
}

/* The topmost `count` values (above a mark, where `marked`) are added to the list or dictionary
 * below them. */
static int extend(struct ms_pickle *pickle, enum ms_pickle_type type, size_t count, bool marked) {
    if (pickle->stack.count < count + marked + 1)
        return refuse(pickle, "items come without a list or dictionary");
    const size_t first = pickle->stack.count - count;
    struct ms_pickle_value *to = pickle->stack.at[first - marked - 1];
    if (to == NULL || to->type != type || (type == MS_PICKLE_DICT && count % 2 != 0))
        return refuse(pickle, "items are for a value that is not a list or dictionary");
    for (size_t i = first; i < pickle->stack.count; i++) {
        if (pickle->stack.at[i] == NULL)
            return refuse(pickle, "an item is missing on the stack");
        if (!add_item(pickle, to, pickle->stack.at[i]))
            return no_memory(pickle);
    }
    pickle->stack.count = first - marked;
    return 0;
}

static int put(struct ms_pickle *pickle, uint64_t index) {
    if (top(pickle) == NULL)
        return refuse(pickle, "it stores a value from an empty stack");
    if (index >= MAX_VALUES || !array_reach(&pickle->memo, (size_t)index, MAX_VALUES))
        return no_memory(pickle);
    pickle->memo.at[index] = top(pickle);
    return 0;
}

static int get(struct ms_pickle *pickle, uint64_t index) {
    if (index >= pickle->memo.capacity || pickle->memo.at[index] == NULL)
        return refuse(pickle, "it fetches a value that was never stored");
    return push(pickle, pickle->memo.at[index]);
}

static int push_int(struct ms_pickle *pickle, int64_t integer) {
    struct ms_pickle_value *value;
    const int rc = push_new(pickle, MS_PICKLE_INT, &value);
    if (rc == 0)
        value->integer = integer;
    return rc;
}

/* LONG1: little-endian two's complement of so many bytes. */
static int push_long(struct ms_pickle *pickle) {
    uint64_t size, bits;
    if (!take_number(pickle, 1, &size) || size > 8 || !take_number(pickle, (size_t)size, &bits))
        return refuse(pickle, "a number has more than 64 bits");
    if (size > 0 && size < 8 && bits >> (8 * size - 1) != 0)
        bits |= UINT64_MAX << (8 * size);
    return push_int(pickle, (int64_t)bits);
}

static int push_real(struct ms_pickle *pickle) {
    const uint8_t *bytes;
    if (!take(pickle, 8, &bytes))
        return refuse(pickle, "it is cut off");
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | bytes[i]; /* the one big-endian thing in a pickle */
    struct ms_pickle_value *value;
    const int rc = push_new(pickle, MS_PICKLE_FLOAT, &value);
    if (rc == 0)
        memcpy(&value->real, &bits, sizeof bits);
    return rc;
}

static int push_text(struct ms_pickle *pickle) {
    const uint8_t *bytes;
    uint64_t size;
    if (!take_number(pickle, 4, &size) || !take(pickle, (size_t)size, &bytes))
        return refuse(pickle, "it is cut off");
    struct ms_pickle_value *value;
    const int rc = push_new(pickle, MS_PICKLE_TEXT, &value);
    if (rc == 0) {
        value->text = (const char *)bytes;
        value->text_size = (size_t)size;
    }
    return rc;
}

static int push_bool(struct ms_pickle *pickle, bool truth) {
    struct ms_pickle_value *value;
    const int rc = push_new(pickle, MS_PICKLE_BOOL, &value);
    if (rc == 0)
        value->integer = truth;
    return rc;
}

/* BUILD: attributes of the object below, such as the _metadata of a state dict. They are not
 * used. */
static int build(struct ms_pickle *pickle) {
    if (pop(pickle) == NULL || top(pickle) == NULL || top(pickle)->type != MS_PICKLE_DICT)
        return refuse(pickle, "attributes come without an object");
    return 0;
}

static int step(struct ms_pickle *pickle, uint8_t opcode) {
    struct ms_pickle_value *value;
    uint64_t number = 0;
    int64_t above;
    switch (opcode) {
    case 0x80: /* PROTO */
        if (!take_number(pickle, 1, &number) || number < 2 || number > 3)
            return refuse(pickle, "it has protocol %d", (int)number);
        return 0;
    case '(': return push(pickle, NULL);
    case 'N': return push_new(pickle, MS_PICKLE_NONE, &value);
    case 0x88: return push_bool(pickle, true);
    case 0x89: return push_bool(pickle, false);
    case 'K': /* BININT1 */
        return take_number(pickle, 1, &number) ? push_int(pickle, (int64_t)number)
                                               : refuse(pickle, "it is cut off");
    case 'M': /* BININT2 */
        return take_number(pickle, 2, &number) ? push_int(pickle, (int64_t)number)
                                               : refuse(pickle, "it is cut off");
    case 'J': /* BININT */
        return take_number(pickle, 4, &number) ? push_int(pickle, (int32_t)(uint32_t)number)
                                               : refuse(pickle, "it is cut off");
    case 0x8a: return push_long(pickle);
    case 'G': return push_real(pickle);
    case 'X': return push_text(pickle);
    case ')': return push_new(pickle, MS_PICKLE_TUPLE, &value);
    case ']': return push_new(pickle, MS_PICKLE_LIST, &value);
    case '}': return push_new(pickle, MS_PICKLE_DICT, &value);
    case 0x85: return gather(pickle, MS_PICKLE_TUPLE, 1, false);
    case 0x86: return gather(pickle, MS_PICKLE_TUPLE, 2, false);
    case 0x87: return gather(pickle, MS_PICKLE_TUPLE, 3, false);
    case 't':
    case 'e':
    case 'u':
        above = above_mark(pickle);
        if (above < 0)
            return refuse(pickle, "a mark is missing");
        return opcode == 't'   ? gather(pickle, MS_PICKLE_TUPLE, (size_t)above, true)
               : opcode == 'e' ? extend(pickle, MS_PICKLE_LIST, (size_t)above, true)
                               : extend(pickle, MS_PICKLE_DICT, (size_t)above, true);
    case 'a': return extend(pickle, MS_PICKLE_LIST, 1, false);
    case 's': return extend(pickle, MS_PICKLE_DICT, 2, false);
    case 'q': /* BINPUT */
        return take_number(pickle, 1, &number) ? put(pickle, number)
                                               : refuse(pickle, "it is cut off");
    case 'r': /* LONG_BINPUT */
        return take_number(pickle, 4, &number) ? put(pickle, number)
                                               : refuse(pickle, "it is cut off");
    case 'h': /* BINGET */
        return take_number(pickle, 1, &number) ? get(pickle, number)
                                               : refuse(pickle, "it is cut off");
    case 'j': /* LONG_BINGET */
        return take_number(pickle, 4, &number) ? get(pickle, number)
                                               : refuse(pickle, "it is cut off");
    case 'c': return global(pickle);
    case 'R': return reduce(pickle);
    case 'Q': return persistent(pickle);
    case 'b': return build(pickle);
    default: return refuse(pickle, "it has opcode 0x%02x", opcode);
    }
}

int ms_pickle_parse(const uint8_t *bytes, size_t size, struct ms_pickle **out,
                    struct ms_error *err) {
    struct ms_pickle *pickle = calloc(1, sizeof *pickle);
    *out = NULL;
    if (pickle == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a pickle");
    pickle->at = bytes;
    pickle->end = bytes + size;
    pickle->err = err;
    int rc = 0;
    if (size > MAX_BYTES)
        rc = refuse(pickle, "it has %zu bytes", size);
    while (rc == 0 && pickle->root == NULL) {
        if (pickle->at == pickle->end)
            rc = refuse(pickle, "it is cut off");
        else if (*pickle->at != '.')
            rc = step(pickle, *pickle->at++);
        else if (pickle->stack.count != 1 || (pickle->root = pop(pickle)) == NULL)
            rc = refuse(pickle, "it ends without a value");
    }
    pickle->err = NULL;
    if (rc != 0) {
        ms_pickle_free(pickle);
        return rc;
    }
    *out = pickle;
    return 0;
}

void ms_pickle_free(struct ms_pickle *pickle) {
    if (pickle == NULL)
        return;
    while (pickle->chunks != NULL) {
        struct chunk *chunk = pickle->chunks;
        for (size_t i = 0; i < chunk->used; i++) {
            free(chunk->values[i].items);
            free(chunk->values[i].tensor);
        }
        pickle->chunks = chunk->next;
        free(chunk);
    }
    free(pickle->stack.at);
    free(pickle->memo.at);
    free(pickle);
}

const struct ms_pickle_value *ms_pickle_root(const struct ms_pickle *pickle) {
    return pickle->root;
}

bool ms_pickle_is_text(const struct ms_pickle_value *value, const char *text) {
    return (value->type == MS_PICKLE_TEXT || value->type == MS_PICKLE_NAME) &&
           value->text_size == strlen(text) && memcmp(value->text, text, value->text_size) == 0;
}

const struct ms_pickle_value *ms_pickle_get(const struct ms_pickle_value *value, const char *key) {
    if (value == NULL || value->type != MS_PICKLE_DICT)
        return NULL;
    const struct ms_pickle_value *found = NULL;
    for (size_t i = 0; i + 1 < value->count; i += 2)
        if (value->items[i]->type == MS_PICKLE_TEXT && ms_pickle_is_text(value->items[i], key))
            found = value->items[i + 1];
    return found;
}
