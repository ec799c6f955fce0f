/* See waiting.h. Owns the lists: ids in 28 bytes each, which become text as a client takes it, so
 * that a client holds a place in a list and nothing more. On the threads of the pool. */
#include "waiting.h"

#include <stdlib.h>
#include <string.h>

#include "msaas/sys.h"

#define ID_BYTES ((MS_JOB_ID_HEX - 1) / 2)
/* A longer list takes so long to read that it is kept: for a second, and for another one while the
 * next is being read. */
#define SHORT_COUNT 1000
#define KEPT_S 1.0
#define MOST_BYTES ((size_t)64 << 20)

struct ms_waiting {
    struct ms_waiting *older;
    int holders;
    double begun_s;                 /* when its reading began */
    size_t count, capacity;         /* of ids */
    unsigned char (*ids)[ID_BYTES]; /* NULL: none, or given up */
    bool given_up;
};

void ms_waiting_init(struct ms_waiting_lists *lists) {
    *lists = (struct ms_waiting_lists){.most_bytes = MOST_BYTES};
    (void)pthread_mutex_init(&lists->lock, NULL);
    (void)pthread_cond_init(&lists->read_ended, NULL);
}

/* ---- keeping; all with the lock held ---- */

static void drop_ids(struct ms_waiting_lists *lists, struct ms_waiting *list) {
    lists->bytes -= list->capacity * sizeof *list->ids;
    free(list->ids);
    list->ids = NULL;
    list->capacity = 0;
}

static void release(struct ms_waiting_lists *lists, struct ms_waiting *list) {
    if (list == NULL || --list->holders > 0)
        return;
    struct ms_waiting **at = &lists->all;
    while (*at != list)
        at = &(*at)->older;
    *at = list->older;
    drop_ids(lists, list);
    free(list);
}

static void keep(struct ms_waiting_lists *lists, struct ms_waiting *list) {
    list->older = lists->all;
    lists->all = list;
    lists->bytes += list->capacity * sizeof *list->ids;
    while (lists->bytes > lists->most_bytes) {
        struct ms_waiting *oldest = NULL;
        for (struct ms_waiting *one = list->older; one != NULL; one = one->older)
            if (one->ids != NULL && one != lists->newest)
                oldest = one;
        if (oldest == NULL)
            break;
        oldest->given_up = true;
        drop_ids(lists, oldest);
    }
}

void ms_waiting_fini(struct ms_waiting_lists *lists) {
    release(lists, lists->newest);
    (void)pthread_cond_destroy(&lists->read_ended);
    (void)pthread_mutex_destroy(&lists->lock);
}

/* ---- reading ---- */

static void id_text(const unsigned char bytes[ID_BYTES], char id[MS_JOB_ID_HEX]) {
    static const char digits[] = "0123456789abcdef";
    for (size_t k = 0; k < ID_BYTES; k++) {
        id[2 * k] = digits[bytes[k] >> 4];
        id[2 * k + 1] = digits[bytes[k] & 15];
    }
    id[MS_JOB_ID_HEX - 1] = '\0';
}

static unsigned char digit_of(char hex) {
    return (unsigned char)(hex <= '9' ? hex - '0' : hex - 'a' + 10);
}

static int append(struct ms_waiting *list, const char (*ids)[MS_JOB_ID_HEX], size_t count,
                  struct ms_error *err) {
    if (count == 0)
        return 0;
    if (list->ids == NULL || count > list->capacity - list->count) {
        const size_t half = list->count / 2;
        const size_t capacity = list->count + (count > half ? count : half) + 1;
        void *bigger = realloc(list->ids, capacity * sizeof *list->ids);
        if (bigger == NULL)
            return ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
        list->ids = bigger;
        list->capacity = capacity;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < ID_BYTES; k++)
            list->ids[list->count + i][k] =
                (unsigned char)(digit_of(ids[i][2 * k]) << 4 | digit_of(ids[i][2 * k + 1]));
    list->count += count;
    return 0;
}

static int read_pages(struct ms_queue *queue, struct ms_waiting *list, struct ms_error *err) {
    char(*page)[MS_JOB_ID_HEX] = malloc(MS_WAITING_MAX * sizeof *page);
    char cursor[MS_CURSOR_MAX] = "", next[MS_CURSOR_MAX] = "";
    int rc = page != NULL ? 0 : ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
    do {
        int count = 0;
        if (rc == 0)
            rc = ms_queue_waiting(queue, cursor, MS_WAITING_MAX, page, &count, next, err);
        if (rc == 0)
            rc = append(list, (const char(*)[MS_JOB_ID_HEX])page, (size_t)count, err);
        memcpy(cursor, next, sizeof cursor);
    } while (rc == 0 && cursor[0] != '\0');
    free(page);
    return rc;
}

static int read_list(struct ms_queue *queue, struct ms_waiting **out, struct ms_error *err) {
    struct ms_waiting *list = calloc(1, sizeof *list);
    if (list == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
    list->begun_s = ms_monotonic_s();
    list->holders = 1;
    int rc = read_pages(queue, list, err);
    if (rc != 0) {
        free(list->ids);
        free(list);
        return rc;
    }
    *out = list;
    return 0;
}

/* ---- getting ---- */

static bool is_good(const struct ms_waiting_lists *lists, double asked_s) {
    const struct ms_waiting *list = lists->newest;
    if (list == NULL)
        return false;
    double may_be_older_s = 0;
    if (list->count > SHORT_COUNT)
        may_be_older_s = lists->reading ? 2 * KEPT_S : KEPT_S;
    return list->begun_s >= asked_s - may_be_older_s;
}

/* With the lock held, which it gives up while it reads. */
static int read_new(struct ms_waiting_lists *lists, struct ms_queue *queue, struct ms_error *err) {
    struct ms_waiting *list = NULL;
    struct ms_error failure = {0};
    lists->reading = true;
    (void)pthread_mutex_unlock(&lists->lock);
    const int rc = read_list(queue, &list, &failure);
    (void)pthread_mutex_lock(&lists->lock);
    lists->reading = false;
    if (rc == 0) {
        release(lists, lists->newest);
        lists->newest = list;
        keep(lists, list);
    } else {
        lists->failures++;
        lists->failure = failure;
        (void)ms_error_copy(err, &failure);
    }
    (void)pthread_cond_broadcast(&lists->read_ended);
    return rc;
}

static int get_all(struct ms_waiting_lists *lists, struct ms_queue *queue, struct ms_waiting **out,
                   struct ms_error *err) {
    const double asked_s = ms_monotonic_s();
    int rc = 0;
    (void)pthread_mutex_lock(&lists->lock);
    const int failures = lists->failures;
    while (rc == 0 && !is_good(lists, asked_s)) {
        if (!lists->reading)
            rc = read_new(lists, queue, err);
        else
            (void)pthread_cond_wait(&lists->read_ended, &lists->lock);
        /* A server that fails one thread is not asked by the others in turn. */
        if (rc == 0 && lists->failures != failures)
            rc = ms_error_copy(err, &lists->failure);
    }
    if (rc == 0) {
        *out = lists->newest;
        (*out)->holders++;
    }
    (void)pthread_mutex_unlock(&lists->lock);
    return rc;
}

/* Copies the ids of the list, unless it was given up. */
static int copy(struct ms_waiting_lists *lists, const struct ms_waiting *from,
                struct ms_waiting *to, struct ms_error *err) {
    to->ids = from->count > 0 ? malloc(from->count * sizeof *to->ids) : NULL;
    if (to->ids == NULL && from->count > 0)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
    (void)pthread_mutex_lock(&lists->lock);
    const bool given_up = from->given_up;
    if (!given_up && from->count > 0)
        memcpy(to->ids, from->ids, from->count * sizeof *to->ids);
    (void)pthread_mutex_unlock(&lists->lock);
    to->count = to->capacity = from->count;
    return given_up ? ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs") : 0;
}

static void drop_others(struct ms_waiting *list, const char *mark) {
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        char id[MS_JOB_ID_HEX];
        id_text(list->ids[i], id);
        if (ms_job_id_has_mark(id, mark))
            memmove(list->ids[kept++], list->ids[i], sizeof *list->ids);
    }
    void *smaller = kept > 0 ? realloc(list->ids, kept * sizeof *list->ids) : NULL;
    if (kept == 0)
        free(list->ids);
    if (kept == 0 || smaller != NULL)
        list->ids = smaller;
    list->count = list->capacity = kept;
}

/* Those of one owner, as a list of its own. */
static int pick(struct ms_waiting_lists *lists, const struct ms_waiting *all, const char *owner,
                struct ms_waiting **out, struct ms_error *err) {
    char mark[MS_OWNER_MARK_BYTES];
    struct ms_waiting *own = calloc(1, sizeof *own);
    if (own == NULL)
        return ms_error_set(err, MS_ENOMEM, "no memory for a list of jobs");
    own->begun_s = all->begun_s;
    own->holders = 1;
    int rc = ms_owner_mark(owner, mark, err);
    if (rc == 0)
        rc = copy(lists, all, own, err);
    if (rc != 0) {
        free(own->ids);
        free(own);
        return rc;
    }
    drop_others(own, mark);
    (void)pthread_mutex_lock(&lists->lock);
    keep(lists, own);
    (void)pthread_mutex_unlock(&lists->lock);
    *out = own;
    return 0;
}

int ms_waiting_get(struct ms_waiting_lists *lists, struct ms_queue *queue, const char *owner,
                   struct ms_waiting **out, struct ms_error *err) {
    struct ms_waiting *all = NULL;
    int rc = get_all(lists, queue, &all, err);
    if (rc != 0 || owner == NULL) {
        *out = all;
        return rc;
    }
    rc = pick(lists, all, owner, out, err);
    ms_waiting_give_back(lists, all);
    return rc;
}

void ms_waiting_give_back(struct ms_waiting_lists *lists, struct ms_waiting *list) {
    (void)pthread_mutex_lock(&lists->lock);
    release(lists, list);
    (void)pthread_mutex_unlock(&lists->lock);
}

/* ---- as text: {"queue":["ID","ID"]} ---- */

static const char head[] = "{\"queue\":[", tail[] = "]}";
#define HEAD_BYTES (sizeof head - 1)
#define TAIL_BYTES (sizeof tail - 1)
#define ITEM_BYTES (MS_JOB_ID_HEX - 1 + 3) /* with its quotes and a comma, which the last lacks */

static size_t end_of_items(const struct ms_waiting *list) {
    return HEAD_BYTES + list->count * ITEM_BYTES - (list->count > 0 ? 1 : 0);
}

size_t ms_waiting_text_bytes(const struct ms_waiting *list) {
    return end_of_items(list) + TAIL_BYTES;
}

/* The piece of the text that this place lies in: the head, an item, or the tail. */
static size_t piece_at(const struct ms_waiting *list, size_t from, char piece[ITEM_BYTES],
                       size_t *skip) {
    if (from < HEAD_BYTES) {
        memcpy(piece, head, HEAD_BYTES);
        *skip = from;
        return HEAD_BYTES;
    }
    if (from >= end_of_items(list)) {
        memcpy(piece, tail, TAIL_BYTES);
        *skip = from - end_of_items(list);
        return TAIL_BYTES;
    }
    const size_t number = (from - HEAD_BYTES) / ITEM_BYTES;
    piece[0] = '"';
    id_text(list->ids[number], piece + 1);
    piece[ITEM_BYTES - 2] = '"';
    piece[ITEM_BYTES - 1] = ',';
    *skip = (from - HEAD_BYTES) % ITEM_BYTES;
    return number + 1 == list->count ? ITEM_BYTES - 1 : ITEM_BYTES;
}

int ms_waiting_text(struct ms_waiting_lists *lists, const struct ms_waiting *list, size_t from,
                    char *out, size_t capacity, size_t *size, struct ms_error *err) {
    const size_t whole = ms_waiting_text_bytes(list);
    int rc = 0;
    *size = 0;
    (void)pthread_mutex_lock(&lists->lock);
    if (list->given_up)
        rc = ms_error_set(err, MS_ETOOLARGE,
                          "the client took the list of waiting jobs too slowly, and newer lists "
                          "need its memory");
    while (rc == 0 && *size < capacity && from + *size < whole) {
        char piece[ITEM_BYTES];
        size_t skip;
        size_t some = piece_at(list, from + *size, piece, &skip) - skip;
        if (some > capacity - *size)
            some = capacity - *size;
        memcpy(out + *size, piece + skip, some);
        *size += some;
    }
    (void)pthread_mutex_unlock(&lists->lock);
    return rc;
}
