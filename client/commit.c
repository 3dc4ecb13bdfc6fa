/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <config.h>

#include "client/commit.h"
#include "client/failure.h"
#include "client/place.h"
#include "common/clock.h"

/* Of one transaction, beyond the request that is always taken. */
#define GROUP_MAX 10000
#define GROUP_BYTES (4 << 20)
/* What another process's transaction is waited for at a time. In between others may have the gate. */
#define BUSY_SLICE_MS 200
#define ROW_OVERHEAD 64           /* bytes of a row that are not its message's */
#define ROOM_POLL_US (200 * 1000) /* another process may make room without telling us */

/* One call of commit_post; lives on the caller's stack. */
struct request {
    const struct message *messages;
    size_t n;
    uint64_t bytes;      /* as the hub counts */
    uint64_t disk_bytes; /* that its transaction may take */
    int64_t patience_us; /* until when other processes are waited for */
    GCond cond;
    bool done;
    bool again;         /* nothing was decided: it goes into the next group */
    uint64_t first_seq; /* 0: not accepted */
    bool full;          /* not accepted because of a bound, and there may be room later */
    GError *error;
    struct request *next;
};

struct commit {
    struct queue *queue;
    const char *path;
    struct lock *lock;
    struct commit_limits limits;
    struct commit_hooks hooks;

    GMutex mutex; /* of everything below */
    struct request *head, **tail;
    bool leading;
    int shut; /* atomic */
    GCond room;
    uint64_t room_turn; /* counts calls of commit_room, so that none is missed */
    struct identity *identity;
};

/* What a leader's transaction did besides. */
struct outcome {
    bool posted;
    GArray *dropped, *expired; /* struct queue_run */
};

static void
outcome_init(struct outcome *outcome)
{
    outcome->posted = false;
    outcome->dropped = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
    outcome->expired = g_array_new(FALSE, FALSE, sizeof(struct queue_run));
}

/* The transaction did not happen. */
static void
outcome_forget(struct outcome *outcome)
{
    outcome->posted = false;
    g_array_set_size(outcome->dropped, 0);
    g_array_set_size(outcome->expired, 0);
}

static void
request_forget(struct request *request)
{
    request->first_seq = 0;
    request->full = false;
    g_clear_error(&request->error);
}

static void
outcome_clear(struct outcome *outcome)
{
    g_array_unref(outcome->dropped);
    g_array_unref(outcome->expired);
}

struct commit *
commit_new(struct queue *queue, const char *path, struct lock *lock, const struct commit_limits *limits,
           const struct commit_hooks *hooks)
{
    struct commit *commit = g_new0(struct commit, 1);
    commit->queue = queue;
    commit->path = path;
    commit->lock = lock;
    commit->limits = *limits;
    commit->hooks = *hooks;
    commit->tail = &commit->head;
    g_mutex_init(&commit->mutex);
    g_cond_init(&commit->room);
    return commit;
}

void
commit_free(struct commit *commit)
{
    if (!commit)
        return;
    identity_free(commit->identity);
    g_cond_clear(&commit->room);
    g_mutex_clear(&commit->mutex);
    g_free(commit);
}

void
commit_set_identity(struct commit *commit, const struct identity *identity)
{
    g_mutex_lock(&commit->mutex);
    identity_free(commit->identity);
    commit->identity = identity ? identity_copy(identity) : NULL;
    g_mutex_unlock(&commit->mutex);
}

/* ---- Bounds */

static void
explain_full(struct commit *commit, const struct request *request, const struct queue_state *state, uint64_t free_bytes,
             GError **error)
{
    const struct commit_limits *limits = &commit->limits;
    const char *remedy = "; they leave once the hub can be reached, see hubkeyctl queue status";
    if (state->counts.waiting + request->n > limits->max_messages)
        failure_set(error, HUBKEY_E_FULL,
                    "the queue is full: %" G_GUINT64_FORMAT " messages wait and %" G_GUINT64_FORMAT " are allowed%s",
                    state->counts.waiting, limits->max_messages, remedy);
    else if (state->counts.waiting_bytes + request->bytes > limits->max_bytes)
        failure_set(error, HUBKEY_E_FULL,
                    "the queue is full: %" G_GUINT64_FORMAT " bytes wait and %" G_GUINT64_FORMAT " are allowed%s",
                    state->counts.waiting_bytes, limits->max_bytes, remedy);
    else
        failure_set(error, HUBKEY_E_FULL,
                    "the disk of %s has %" G_GUINT64_FORMAT " bytes free and %" G_GUINT64_FORMAT
                    " must stay free; free some space",
                    commit->path, free_bytes, limits->min_free_bytes);
}

/* What no waiting and no dropping can make room for. */
static bool
never_fits(struct commit *commit, const struct request *request, GError **error)
{
    const struct commit_limits *limits = &commit->limits;
    if (request->n <= limits->max_messages && request->bytes <= limits->max_bytes)
        return false;
    failure_set(error, HUBKEY_E_FULL,
                "%zu messages with %" G_GUINT64_FORMAT " bytes never fit: the queue may hold %" G_GUINT64_FORMAT
                " messages and %" G_GUINT64_FORMAT " bytes",
                request->n, request->bytes, limits->max_messages, limits->max_bytes);
    return true;
}

static uint64_t
excess(uint64_t have, uint64_t more, uint64_t limit)
{
    return have + more > limit ? have + more - limit : 0;
}

/* How much more than is allowed there would be. */
struct lack {
    uint64_t messages, bytes;
};

static struct lack
find_lack(struct commit *commit, const struct request *request, const struct queue_state *state, uint64_t free_bytes)
{
    const struct commit_limits *limits = &commit->limits;
    struct lack lack = { excess(state->counts.waiting, request->n, limits->max_messages),
                         excess(state->counts.waiting_bytes, request->bytes, limits->max_bytes) };
    if (free_bytes < request->disk_bytes || free_bytes - request->disk_bytes < limits->min_free_bytes)
        lack.bytes = MAX(lack.bytes, request->bytes); /* the pages of dropped rows are used again */
    return lack;
}

/* Somebody may have messages in a request. What was claimed by a sender that is no more is in nobody's. */
static bool
is_sent_from(struct commit *commit)
{
    struct lock_holder holder;
    lock_ask(commit->lock, &holder);
    return lock_is_held(commit->lock) || holder.pid != 0;
}

/* Room for request, made where the policy says so. False with request->error or error set. */
static bool
make_room(struct commit *commit, struct request *request, struct queue_state *state, uint64_t free_bytes,
          struct outcome *outcome, GError **error)
{
    if (never_fits(commit, request, &request->error))
        return false;
    struct lack lack = find_lack(commit, request, state, free_bytes);
    if (lack.messages == 0 && lack.bytes == 0)
        return true;

    g_autoptr(GError) failed = NULL;
    bool sending = is_sent_from(commit), more = !sending; /* a sender drops by itself what has expired */
    while (more)
        if (!queue_drop_expired(commit->queue, state, 0, outcome->expired, &more, error))
            return false;
    lack = find_lack(commit, request, state, outcome->expired->len ? UINT64_MAX : free_bytes);
    if (lack.messages == 0 && lack.bytes == 0)
        return true;
    if (commit->limits.policy == HUBKEY_POLICY_DROP_OLDEST &&
        queue_drop_oldest(commit->queue, state, sending ? state->claimed : 0, lack.messages, lack.bytes,
                          outcome->dropped, &failed))
        return true;
    if (failed) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    request->full = true;
    explain_full(commit, request, state, free_bytes, &request->error);
    return false;
}

/* ---- The leader */

/* False where the transaction as a whole must fail. */
static bool
add_request(struct commit *commit, struct request *request, struct queue_state *state, uint64_t *free_bytes,
            struct outcome *outcome, GError **error)
{
    GError *failed = NULL;
    if (!make_room(commit, request, state, *free_bytes, outcome, &failed)) {
        if (failed)
            g_propagate_error(error, failed);
        return !failed;
    }
    for (size_t i = 0; i < request->n; i++)
        if (!queue_insert(commit->queue, state->counts.last_seq + 1 + i, &request->messages[i], error))
            return false;
    request->first_seq = state->counts.last_seq + 1;
    state->counts.last_seq += request->n;
    state->counts.accepted += request->n;
    state->counts.waiting += request->n;
    state->counts.waiting_bytes += request->bytes;
    *free_bytes -= MIN(*free_bytes, request->disk_bytes);
    outcome->posted = true;
    return true;
}

static bool
write_group(struct commit *commit, struct request *group, const struct identity *identity, struct outcome *outcome,
            GError **error)
{
    struct queue_state state;
    uint64_t free_bytes = commit->limits.min_free_bytes ? place_free_bytes(commit->path) : UINT64_MAX;
    bool good = queue_get_state(commit->queue, &state, error);
    for (struct request *request = group; good && request; request = request->next)
        good = add_request(commit, request, &state, &free_bytes, outcome, error);
    if (good && outcome->posted && identity && !state.bound)
        good = queue_set_identity(commit->queue, identity, error);
    return good && queue_save_state(commit->queue, &state, error);
}

/* One transaction for the whole group. False: nothing of it happened. */
static bool
commit_together(struct commit *commit, struct request *group, const struct identity *identity, struct outcome *outcome,
                GError **error)
{
    if (!queue_begin(commit->queue, BUSY_SLICE_MS, error))
        return false;
    if (!write_group(commit, group, identity, outcome, error)) {
        queue_rollback(commit->queue);
        return false;
    }
    if (outcome->posted || outcome->expired->len > 0)
        return queue_commit(commit->queue, error);
    queue_rollback(commit->queue); /* all refused: nothing to flush */
    return true;
}

/* Posting goes on in a fresh file; the sender sees to what the damaged one holds. */
static bool
replace_queue(struct commit *commit, const GError *damage, GError **error)
{
    if (!queue_replace(commit->queue, damage, error))
        return false;
    g_autofree char *found = queue_take_found(commit->queue);
    if (found && commit->hooks.damaged)
        commit->hooks.damaged(found, commit->hooks.user);
    return true;
}

static bool
commit_somewhere(struct commit *commit, struct request *group, const struct identity *identity, struct outcome *outcome,
                 GError **error)
{
    g_autoptr(GError) failed = NULL;
    if (commit_together(commit, group, identity, outcome, &failed))
        return true;
    if (!g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_DAMAGED)) {
        g_propagate_error(error, g_steal_pointer(&failed));
        return false;
    }
    outcome_forget(outcome);
    for (struct request *request = group; request; request = request->next)
        request_forget(request);
    return replace_queue(commit, failed, error) && commit_together(commit, group, identity, outcome, error);
}

/* Why the group failed, for each of its requests; who has patience left for another process stays in the game. */
static void
answer_failure(struct commit *commit, struct request *group, const GError *failed)
{
    bool busy = g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_LOCKED);
    int64_t now_us = clock_monotonic_us();
    for (struct request *request = group; request; request = request->next) {
        request_forget(request);
        request->again = busy && now_us < request->patience_us && !g_atomic_int_get(&commit->shut);
        if (!request->again)
            request->error = g_error_copy(failed);
    }
}

/* Whatever happens, every request has its answer afterwards, or is to come again. */
static void
commit_group(struct commit *commit, struct request *group, const struct identity *identity, struct outcome *outcome)
{
    g_autoptr(GError) failed = NULL;
    if (commit_somewhere(commit, group, identity, outcome, &failed))
        return;
    outcome_forget(outcome);
    answer_failure(commit, group, failed);
    bool local = g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_FULL) ||
                 g_error_matches(failed, FAILURE_DOMAIN, HUBKEY_E_QUEUE_IO);
    if (!group->next || !local)
        return;
    /* One that the disk has no room for must not take the others with it. */
    for (struct request *request = group, *next; request; request = next) {
        struct outcome alone;
        outcome_init(&alone);
        next = request->next;
        request->next = NULL;
        g_clear_error(&request->error);
        commit_group(commit, request, identity, &alone);
        request->next = next;
        outcome->posted |= alone.posted;
        g_array_append_vals(outcome->dropped, alone.dropped->data, alone.dropped->len);
        g_array_append_vals(outcome->expired, alone.expired->data, alone.expired->len);
        outcome_clear(&alone);
    }
}

/* Cuts the group off the list: the first request always, then as many as fit. */
static struct request *
take_group(struct commit *commit)
{
    struct request *group = commit->head, *last = group;
    uint64_t n = group->n, bytes = group->bytes;
    while (last->next && n + last->next->n <= GROUP_MAX && bytes + last->next->bytes <= GROUP_BYTES) {
        last = last->next;
        n += last->n;
        bytes += last->bytes;
    }
    commit->head = last->next;
    if (!commit->head)
        commit->tail = &commit->head;
    last->next = NULL;
    return group;
}

static void
hand_in(struct commit *commit, struct request *request)
{
    request->again = false;
    request->next = NULL;
    *commit->tail = request;
    commit->tail = &request->next;
}

/* Wakes the owners of a group's requests, and one who leads next. With the mutex held. */
static void
give_answers(struct commit *commit, struct request *group)
{
    for (struct request *request = group, *next; request; request = next) {
        next = request->next; /* once done, the request's owner may return and take it away */
        if (request->again) {
            hand_in(commit, request);
            continue;
        }
        request->done = true;
        g_cond_signal(&request->cond);
    }
    if (commit->head)
        g_cond_signal(&commit->head->cond);
}

static void
tell_runs(struct commit *commit, const GArray *runs, int how)
{
    for (guint i = 0; commit->hooks.dropped && i < runs->len; i++) {
        struct queue_run *run = &g_array_index(runs, struct queue_run, i);
        commit->hooks.dropped(run->first, run->last, how, commit->hooks.user);
    }
}

/* Entered and left with the mutex held. */
static void
lead(struct commit *commit)
{
    struct request *group = take_group(commit);
    g_autoptr(identity_auto) identity = commit->identity ? identity_copy(commit->identity) : NULL;
    struct outcome outcome;
    outcome_init(&outcome);

    commit->leading = true;
    g_mutex_unlock(&commit->mutex);
    commit_group(commit, group, identity, &outcome);
    g_mutex_lock(&commit->mutex);
    commit->leading = false;

    give_answers(commit, group);
    g_mutex_unlock(&commit->mutex);
    tell_runs(commit, outcome.expired, HUBKEY_GONE_EXPIRED);
    tell_runs(commit, outcome.dropped, HUBKEY_GONE_DROPPED);
    if (outcome.posted && commit->hooks.posted)
        commit->hooks.posted(commit->hooks.user);
    outcome_clear(&outcome);
    g_mutex_lock(&commit->mutex);
}

/* Hands the request in and waits for its answer. Entered and left with the mutex held. */
static void
run_request(struct commit *commit, struct request *request)
{
    request->done = false;
    request->full = false;
    hand_in(commit, request);
    while (!request->done)
        if (!commit->leading)
            lead(commit);
        else
            g_cond_wait(&request->cond, &commit->mutex);
}

/* ---- Callers */

static int
remaining_ms(int64_t deadline_us)
{
    int64_t left = deadline_us == INT64_MAX ? INT64_MAX : (deadline_us - clock_monotonic_us()) / 1000;
    return (int)CLAMP(left, 0, INT32_MAX);
}

/* Waits for a sign of room. turn was read before the refusal, so that a sign in between counts. */
static void
await_room(struct commit *commit, uint64_t turn, int64_t deadline_us)
{
    int64_t until = g_get_monotonic_time() + MIN(ROOM_POLL_US, (int64_t)remaining_ms(deadline_us) * 1000 + 1000);
    while (!g_atomic_int_get(&commit->shut) && commit->room_turn == turn)
        if (!g_cond_wait_until(&commit->room, &commit->mutex, until))
            break;
}

/* In the journal first, and in the file once that is carried over. */
static uint64_t
disk_bytes(const struct message *message)
{
    return 2 * ((uint64_t)message->len + message->properties_len + ROW_OVERHEAD);
}

bool
commit_post(struct commit *commit, const struct message *messages, size_t n, int64_t deadline_us, uint64_t *first_seq,
            GError **error)
{
    int64_t patience_us = clock_monotonic_us() + QUEUE_BUSY_MS * 1000;
    struct request request = { .messages = messages, .n = n, .patience_us = MAX(patience_us, deadline_us) };
    for (size_t i = 0; i < n; i++) {
        request.bytes += messages[i].counted;
        request.disk_bytes += disk_bytes(&messages[i]);
    }
    g_cond_init(&request.cond);

    g_mutex_lock(&commit->mutex);
    for (;;) {
        uint64_t turn = commit->room_turn;
        g_clear_error(&request.error);
        if (g_atomic_int_get(&commit->shut)) {
            failure_set(&request.error, HUBKEY_E_CLOSED, "the client is being closed");
            break;
        }
        run_request(commit, &request);
        bool wait = request.full && commit->limits.policy == HUBKEY_POLICY_BLOCK && remaining_ms(deadline_us) > 0;
        if (!wait)
            break;
        await_room(commit, turn, deadline_us);
    }
    g_mutex_unlock(&commit->mutex);

    g_cond_clear(&request.cond);
    if (request.error) {
        g_propagate_error(error, request.error);
        return false;
    }
    *first_seq = request.first_seq;
    return true;
}

void
commit_room(struct commit *commit)
{
    g_mutex_lock(&commit->mutex);
    commit->room_turn++;
    g_cond_broadcast(&commit->room);
    g_mutex_unlock(&commit->mutex);
}

void
commit_shut(struct commit *commit)
{
    g_mutex_lock(&commit->mutex);
    g_atomic_int_set(&commit->shut, 1);
    g_cond_broadcast(&commit->room);
    g_mutex_unlock(&commit->mutex);
}
