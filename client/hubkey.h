/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * libhubkey: posts messages to Azure IoT Hub over HTTPS, with tokens from hubkeyd, through a queue on disk that loses
 * nothing while the network, the hub, hubkeyd or this program is away.
 *
 *     struct hubkey_options options = { .size = sizeof options, .slot = 0 };
 *     struct hubkey_error error;
 *     hubkey_client *client;
 *     if (hubkey_client_open(&options, &client, &error) != 0)
 *         errx(1, "%s", error.text);
 *     struct hubkey_message message = { .size = sizeof message, .body = "{\"t\":21.5}", .len = 10 };
 *     if (hubkey_client_post(client, &message, 0, NULL, &error) != 0)
 *         warnx("%s", error.text);
 *     hubkey_client_close(client, 5000);
 *
 * Rules that hold everywhere
 *
 * - Results: 0 (or a count, where said) for success, else a negative HUBKEY_E_* number. There is no hidden "last
 *   error": details go into error, a caller-owned struct hubkey_error, for which NULL may be given. Each function lists
 *   its errors by number; -1xx and -2xx stand for a whole family. Besides, each function with a client answers
 *   HUBKEY_E_INVALID where that is NULL, HUBKEY_E_FORKED, and HUBKEY_E_CLOSED once a callback has closed it; and
 *   HUBKEY_E_NOMEM may come from each that handles messages. Where the system has no memory for a few bytes the process
 *   ends, as every program does that uses GLib.
 * - Threads: every function may be called from every thread, at the same time, on the same client. Only
 *   hubkey_client_close ends a client: no other call may run or begin then, except in the callback that calls close.
 * - Ownership: whatever is passed in stays the caller's and is copied before the call returns. Text handed out
 *   through a char ** is freed with hubkey_free.
 * - Structs start with size, which the caller sets to sizeof the struct. A library that knows a shorter struct accepts
 *   a longer one whose unknown tail is zero (else HUBKEY_E_SIZE); one that knows a longer struct takes what is missing
 *   as zero. So set a struct to zero before use. Numbers in them are never renumbered.
 * - Times are milliseconds (_ms) or seconds (_s); points in time are Unix time. A timeout_ms below 0 waits for ever, 0
 *   does not wait.
 * - fork: a client belongs to the process that opened it; in a child every call answers HUBKEY_E_FORKED and does
 *   nothing, so a child need not and cannot close it. Open a new one there, for the same queue if you like.
 * - HTTP proxies are used as libcurl does by itself: https_proxy, all_proxy and no_proxy.
 * - The library is a guest: it sets no signal handler, locale or environment variable, blocks signals in its own
 *   thread, raises no SIGPIPE, opens its descriptors close-on-exec (all but a pair that libcurl keeps for waking
 *   itself, and one while it resolves a name), and calls back only inside hubkey_client_dispatch and
 *   hubkey_client_wait, with user as it was given. It connects again by itself to a bus, hubkeyd or hub that was away.
 */
#ifndef HUBKEY_H
#define HUBKEY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header. hubkey_version names that of the library in use, "MAJOR.MINOR.PATCH", static. Within one
 * MAJOR a program that was built with any header works with any library; what a library is too old for it refuses with
 * HUBKEY_E_SIZE or HUBKEY_E_INVALID. */
#define HUBKEY_VERSION_MAJOR 0
#define HUBKEY_VERSION_MINOR 1
#define HUBKEY_VERSION_PATCH 0
const char *hubkey_version(void);

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

/* -0xx: how the library was called. */
#define HUBKEY_E_INVALID (-1)   /* an argument is wrong; the text names it and the limit */
#define HUBKEY_E_SIZE (-2)      /* a struct's size is too small, or its unknown tail is not zero */
#define HUBKEY_E_CLOSED (-3)    /* the client is being closed */
#define HUBKEY_E_FORKED (-4)    /* the client belongs to the parent process */
#define HUBKEY_E_TIMEOUT (-5)   /* timeout_ms passed */
#define HUBKEY_E_NOMEM (-6)     /* out of memory */
#define HUBKEY_E_TOO_LARGE (-7) /* the message is larger than IoT Hub takes: HUBKEY_MESSAGE_MAX */
#define HUBKEY_E_RECURSION (-8) /* dispatch, wait, flush or wait_seq called inside a callback */
#define HUBKEY_E_SYSTEM (-9)    /* the system gave no thread, descriptor or random numbers; the text says which */

/* -1xx: what hubkeyd answered, org.hubkey(5). */
#define HUBKEY_E_INVALID_ARGUMENT (-101) /* scope or ttl_s; the text names the limit */
#define HUBKEY_E_NOT_AUTHORIZED (-102)   /* the text says who the caller was taken for and what would allow it */
#define HUBKEY_E_NO_SUCH_SLOT (-103)     /* the number is above 65535 */
#define HUBKEY_E_SLOT_IN_USE (-104)      /* only for administrators: there is a key already */
#define HUBKEY_E_NOT_PROVISIONED (-105)  /* the slot has no key, or not yet */
#define HUBKEY_E_BUSY (-106)             /* too much is under way; the text ends "retry in N ms" */
#define HUBKEY_E_TPM_ABSENT (-107)       /* there is no TPM now */
#define HUBKEY_E_TPM_FAILED (-108)       /* it does not answer, or answers with errors */
#define HUBKEY_E_NO_SPACE (-109)         /* only for administrators: TPM or disk is full */
#define HUBKEY_E_CLOCK_UNSET (-110)      /* a token made now would be dead on arrival */
#define HUBKEY_E_TAMPERED (-111)         /* the TPM does not hold any more what hubkeyd put there */
#define HUBKEY_E_FOREIGN (-112)          /* the slot's place in the TPM is another program's */
#define HUBKEY_E_DAMAGED (-113)          /* the slot's record on disk cannot be used */
#define HUBKEY_E_UNSUPPORTED (-114)      /* not for this kind of slot, or by this hubkeyd */
#define HUBKEY_E_INTERNAL (-115)         /* a fault in hubkeyd or libhubkey; their versions may differ */
#define HUBKEY_E_UNREACHABLE (-116)      /* neither hubkeyd's socket nor the bus answered */

/* -2xx: the queue. */
#define HUBKEY_E_FULL (-201)          /* a bound of struct hubkey_options is reached, or the disk is full */
#define HUBKEY_E_QUEUE_OPEN (-202)    /* the file cannot be opened or made: place, owner, mode, a symbolic link */
#define HUBKEY_E_QUEUE_IO (-203)      /* reading or writing failed; nothing was accepted */
#define HUBKEY_E_QUEUE_DAMAGED (-204) /* the file is not a queue; it is damaged, and was only to be read; or messages in it are */
#define HUBKEY_E_QUEUE_NEWER (-205)   /* written by a newer libhubkey */
#define HUBKEY_E_QUEUE_HELD (-206)    /* another process sends from this queue; the text says which */
#define HUBKEY_E_QUEUE_LOCKED (-207)  /* other processes kept writing to it for too long */
#define HUBKEY_E_GONE (-208)          /* the message left the queue undelivered: dead, dropped, lost or removed */
#define HUBKEY_E_QUEUE_OLDER (-209)   /* an older libhubkey's, or never used: open it once to post or to send */

/* Details of a failure. code is what the function returned; http_status the hub's answer where one is behind it, else
 * 0; text one sentence for people, NUL-terminated, that says what was wrong and what to do. It never contains a key, a
 * signature or a token. After success code is 0 and text "". */
struct hubkey_error {
    int32_t code;        /* HUBKEY_E_*, 0 after success */
    int32_t http_status; /* the hub's last answer, where that is what held things up; else 0 */
    char text[504];      /* UTF-8, always ended by a NUL */
};

/* A static sentence for code, a HUBKEY_E_* number or 0; "unknown error" for any other. Never NULL. */
const char *hubkey_strerror(int code);

/* Frees pointer, a text that this library handed out. NULL is fine. */
void hubkey_free(void *pointer);

/* ---- A token, for programs that talk to the hub themselves ------------------------------------------------------- */

/* Asks hubkeyd for one token of a slot and waits for it, at most 30 s, after 10 s at most for a connection of its own,
 * which it closes again.
 *
 * slot         0 to 65535
 * scope        "" or NULL for the whole identity, or path segments that narrow it, org.hubkey(5): at most 256 bytes
 * ttl_s        seconds of life, 0 for the slot's default; above its maximum: HUBKEY_E_INVALID_ARGUMENT
 * socket_path  hubkeyd's private socket; NULL for $HUBKEY_SOCKET, else /run/hubkey/socket; "" for the bus only. The
 *              bus is asked where nothing answers at the socket.
 * token        the whole "SharedAccessSignature sr=...", for hubkey_free. It is a secret until expires_s.
 * expires_s    Unix time of its end; may be NULL
 *
 * Errors: HUBKEY_E_INVALID, -1xx, of which HUBKEY_E_UNREACHABLE where nobody answers. Nothing is stored on failure.
 * Rules of tokens: Microsoft's "Control access to IoT Hub with shared access signatures". */
int hubkey_token(uint32_t slot, const char *scope, uint32_t ttl_s, const char *socket_path, char **token,
                 int64_t *expires_s, struct hubkey_error *error);

/* ---- A client ---------------------------------------------------------------------------------------------------- */

/* One queue and the thread that sends from it. Made by hubkey_client_open, ended by hubkey_client_close. */
typedef struct hubkey_client hubkey_client;

/* What to do when a bound is reached. */
#define HUBKEY_POLICY_REFUSE 0      /* post answers HUBKEY_E_FULL */
#define HUBKEY_POLICY_BLOCK 1       /* post waits for room up to its timeout_ms, then HUBKEY_E_FULL */
#define HUBKEY_POLICY_DROP_OLDEST 2 /* the oldest waiting messages that are not being sent make room; counted */

#define HUBKEY_FLAG_QUEUE_ONLY 1u /* only post; another process sends */
#define HUBKEY_FLAG_MUST_SEND 2u  /* open fails with HUBKEY_E_QUEUE_HELD where another process sends */

#define HUBKEY_UNLIMITED UINT64_C(0xFFFFFFFFFFFFFFFF) /* for max_bytes and min_free_bytes: no such bound */

struct hubkey_options {
    uint32_t size;
    uint32_t slot;           /* 0 to 65535: whose messages these are */
    const char *queue_path;  /* NULL: hubkey_queue_path(slot). Not on a network file system. All of one file goes as
                                the device it belongs to, whoever posted it for which slot: give each slot its own */
    const char *socket_path; /* as in hubkey_token */
    const char *connect_to;  /* "HOST:PORT:TO-HOST:TO-PORT", HOST and PORT may be empty: where to connect instead,
                                under the hub's own name and certificate; NULL: $HUBKEY_CONNECT_TO, else the hub */
    const char *ca_file;     /* PEM file of trusted roots; NULL: $HUBKEY_CA_FILE, else the system's */
    uint64_t max_messages;   /* waiting messages; 0: no bound */
    uint64_t max_bytes;      /* bytes of waiting messages (as the hub counts); 0: 1 GiB; HUBKEY_UNLIMITED */
    uint64_t min_free_bytes; /* disk to leave free; 0: 64 MiB; HUBKEY_UNLIMITED: look at nothing */
    uint32_t policy;         /* HUBKEY_POLICY_* for these three bounds */
    uint32_t flags;          /* HUBKEY_FLAG_* */
    uint32_t token_ttl_s;    /* life of its tokens, up to the slot's maximum; 0: the slot's default */
    uint32_t max_requests_per_minute; /* for replay of a backlog; 0: 600; UINT32_MAX: no limit */
    uint32_t connect_timeout_ms;      /* up to an hour; 0: 15 s */
    uint32_t request_timeout_ms;      /* connecting included, up to an hour; 0: 60 s. A message that goes alone has a
                                         second more for each 1000 bytes; batches become smaller where it passes */
    uint64_t
        max_age_s; /* after which a waiting message without a ttl_s is dropped, HUBKEY_TTL_MAX_S at most; 0: never */
};

/* Opens (makes, where needed) the queue that options name and starts the thread that sends. Does not wait for hubkeyd
 * or the hub: neither has to be there. The queue's directory is made 0700, its files 0600, or as the
 * queue's that they stand beside; symbolic links are not followed.
 *
 * A file that is damaged is set aside and a fresh one takes its place, here and whenever it turns out later; what can
 * be read of it is sent first, libhubkey(3). A file that is no queue stays as it is: HUBKEY_E_QUEUE_DAMAGED.
 *
 * Where another process (or client) sends from this queue already, this one only posts, and takes over when the other
 * ends: see HUBKEY_REASON_HELD.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_SIZE, HUBKEY_E_SYSTEM, -2xx, of which HUBKEY_E_QUEUE_HELD with
 * HUBKEY_FLAG_MUST_SEND only, and HUBKEY_E_FULL for a full disk. *client is NULL on failure. */
int hubkey_client_open(const struct hubkey_options *options, hubkey_client **client, struct hubkey_error *error);

/* Waits until everything waiting at the time of the call is delivered (as hubkey_client_flush does), at most
 * timeout_ms, then stops sending and frees the client, whatever the result: 0 when no message waits any more,
 * HUBKEY_E_TIMEOUT when some stay in the queue, where they are safe. With HUBKEY_FLAG_QUEUE_ONLY it does not wait.
 * Inside a callback of this client it does not wait either, and the client is freed when dispatch returns. NULL is
 * fine. A socket or system bus that hangs can hold it up for another 10 s.
 *
 * Errors: HUBKEY_E_TIMEOUT; HUBKEY_E_FORKED and HUBKEY_E_CLOSED, where nothing was done. */
int hubkey_client_close(hubkey_client *client, int32_t timeout_ms);

/* ---- Messages ---------------------------------------------------------------------------------------------------- */

/* Limits. A message's bytes are counted as IoT Hub does: body, values of system properties, names and values of
 * application properties. The hub's limit is 256 KiB (Microsoft's "IoT Hub quotas and throttling"). */
#define HUBKEY_MESSAGE_MAX 261119  /* bytes of one message: where Microsoft's C client stops as well */
#define HUBKEY_ID_MAX 128          /* bytes of id and correlation_id: "Create and read IoT Hub messages" */
#define HUBKEY_CONTENT_MAX 256     /* bytes of content_type and content_encoding: ours, well within what servers take */
#define HUBKEY_PROPERTIES_MAX 8192 /* bytes of all names and values of application properties together: the same */
#define HUBKEY_TTL_MAX_S UINT64_C(3155760000) /* seconds, a hundred years: as good as for ever */

/* An application property: 1 or more of ASCII letters, digits and ! # $ % & ' * + - . ^ _ ` | ~, the characters that
 * IoT Hub takes over HTTPS ("Create and read IoT Hub messages"; tokens of RFC 9110 section 5.6.2). */
struct hubkey_property {
    const char *name;  /* those that differ in case only are one name; "created" is the library's */
    const char *value; /* not NULL */
};

struct hubkey_message {
    uint32_t size;
    uint32_t n_properties;        /* of properties */
    const void *body;             /* any bytes; NULL only with len 0 */
    uint64_t len;                 /* bytes of body: 0 to HUBKEY_MESSAGE_MAX, less what the properties take */
    const char *id;               /* NULL: a UUID (version 7, RFC 9562). 1 to HUBKEY_ID_MAX of letters, digits and
                                     - : . + % _ # * ? ! ( ) , = @ ; $ '
                                     The same on every attempt: what consumers recognise a repeated message by */
    const char *correlation_id;   /* NULL: none; the same rule */
    const char *content_type;     /* NULL: none. "application/json" and ... */
    const char *content_encoding; /* ... "utf-8" let the hub route by the body. Printable ASCII */
    const struct hubkey_property *properties; /* application properties; NULL where n_properties is 0 */
    int64_t created_ms; /* Unix time, to the year 9999; 0: now. Sent as iothub-creation-time-utc and as application
                           property "created" */
    uint64_t ttl_s; /* seconds from now after which it is not worth sending any more and is dropped, HUBKEY_TTL_MAX_S at
                       most; 0: options.max_age_s. They go on through suspend, whatever is done to the wall clock; over
                       a boot they go by wall time, or begin anew where the clock was not set */
};

/* Whether a post would take message, as far as that itself goes: nothing is stored, no client is needed. counted (may
 * be NULL): its bytes as the hub counts them, up to HUBKEY_MESSAGE_MAX; not touched on failure.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_SIZE, HUBKEY_E_TOO_LARGE, HUBKEY_E_SYSTEM. */
int hubkey_message_check(const struct hubkey_message *message, uint32_t *counted, struct hubkey_error *error);

/* Accepts message. 0 means: it is durable on disk, and will reach the hub once the network allows, even if this
 * process is killed now. The call takes one disk flush (shared with other threads that post at the same time) and
 * never waits for the network.
 *
 * timeout_ms  how long HUBKEY_POLICY_BLOCK may wait for room, and another process's write may be waited for (5 s where
 *             less is given)
 * seq         may be NULL; the message's number in the queue: from 1, growing in the order of acceptance, which is the
 *             order in which messages reach the hub first. Not touched on failure
 *
 * Delivery is at least once: when an answer is lost the message may arrive again, with the same id.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_SIZE, HUBKEY_E_TOO_LARGE, HUBKEY_E_FULL, HUBKEY_E_CLOSED, HUBKEY_E_FORKED,
 * HUBKEY_E_SYSTEM, -2xx. After any error nothing was accepted: HUBKEY_E_FULL and HUBKEY_E_QUEUE_LOCKED can be tried
 * again, others of -2xx want somebody to look at the disk. */
int hubkey_client_post(hubkey_client *client, const struct hubkey_message *message, int32_t timeout_ms, uint64_t *seq,
                       struct hubkey_error *error);

/* Accepts n messages in one transaction, all or none; they get first_seq (may be NULL), first_seq + 1, ... n from 1 to
 * 10 000. timeout_ms and errors as of hubkey_client_post; where HUBKEY_E_INVALID, HUBKEY_E_SIZE or HUBKEY_E_TOO_LARGE
 * is for one of them, the text says for which, counted from 1. */
int hubkey_client_post_many(hubkey_client *client, const struct hubkey_message *const *messages, size_t n,
                            int32_t timeout_ms, uint64_t *first_seq, struct hubkey_error *error);

/* Waits until the message seq left the queue: 0 it was delivered; HUBKEY_E_GONE it was not (dead, dropped, expired,
 * lost, removed); HUBKEY_E_TIMEOUT it still waits; HUBKEY_E_INVALID no message has this number yet. The last 4096
 * ranges of messages that were not delivered are remembered; one from before them is taken for delivered.
 *
 * timeout_ms  how long
 *
 * Errors: also HUBKEY_E_RECURSION, and -2xx where the queue cannot be read. */
int hubkey_client_wait_seq(hubkey_client *client, uint64_t seq, int32_t timeout_ms);

/* What became of the message seq so far: 0 it waits; HUBKEY_GONE_* how it left the queue. Does not wait. What was
 * forgotten, see hubkey_client_wait_seq, is taken for delivered.
 *
 * Errors: HUBKEY_E_INVALID no message has this number yet; HUBKEY_E_FORKED, HUBKEY_E_CLOSED, and -2xx where the queue
 * cannot be read. */
int hubkey_client_fate(hubkey_client *client, uint64_t seq);

/* Waits until no message accepted before the call waits any more: 0. HUBKEY_E_TIMEOUT otherwise, with error saying
 * what holds the sender up. Cuts short a pause after network errors, 5xx and a reboot (at most once in 5 s), never one
 * that the hub asked for. Messages that leave another way than delivered do not wait either; hubkey_client_stats counts
 * them.
 *
 * timeout_ms  how long
 *
 * Errors: also HUBKEY_E_RECURSION, and -2xx where the queue cannot be read. */
int hubkey_client_flush(hubkey_client *client, int32_t timeout_ms, struct hubkey_error *error);

/* ---- What is going on -------------------------------------------------------------------------------------------- */

#define HUBKEY_STATE_CONNECTING 1  /* nothing heard from the hub yet */
#define HUBKEY_STATE_ONLINE 2      /* the last request was accepted */
#define HUBKEY_STATE_BACKING_OFF 3 /* the hub answered 5xx */
#define HUBKEY_STATE_THROTTLED 4   /* the hub answered 429 */
#define HUBKEY_STATE_QUOTA 5       /* the hub's daily quota is used up; goes on at 00:00 UTC */
#define HUBKEY_STATE_REJECTED 6    /* will not work until something is changed: see the reason; probed 30 s to 30 min */
#define HUBKEY_STATE_OFFLINE 7     /* no network, no hub, no hubkeyd, no TPM, or a proxy answered instead of the hub */
#define HUBKEY_STATE_STOPPED 8     /* not sending: closing, queue-only, or held by another process */

#define HUBKEY_REASON_NONE 0     /* the state says it all */
#define HUBKEY_REASON_CLOCK 1    /* rejected: this machine's clock is wrong, or not set */
#define HUBKEY_REASON_KEY 2      /* rejected: the hub does not accept the slot's key */
#define HUBKEY_REASON_DEVICE 3   /* rejected: the hub does not know the device, or it is disabled */
#define HUBKEY_REASON_HOST 4     /* rejected: the hub's name is wrong, or the hub is gone */
#define HUBKEY_REASON_PROTOCOL 5 /* rejected: the hub does not understand this library */
#define HUBKEY_REASON_MESSAGES 6 /* rejected: the hub refused messages one after the other */
#define HUBKEY_REASON_ACCESS 7   /* rejected: hubkeyd gives this user no token for the slot */
#define HUBKEY_REASON_SLOT 8     /* rejected: the slot is empty, tampered with, or of another device than the queue */
#define HUBKEY_REASON_HELD 9     /* stopped: another process sends from this queue */
#define HUBKEY_REASON_NETWORK 10 /* offline: no connection to the hub */
#define HUBKEY_REASON_TLS 11     /* offline: the server's certificate is not trusted */
#define HUBKEY_REASON_PROXY 12   /* offline: something that is not IoT Hub answered */
#define HUBKEY_REASON_HUBKEYD 13 /* offline: hubkeyd does not answer */
#define HUBKEY_REASON_TPM 14     /* offline: hubkeyd has no working TPM */
#define HUBKEY_REASON_QUEUE 15   /* offline: the queue cannot be read or written, or was damaged and is being saved */

/* Short names for people and logs of a state ("online", "backing-off", ...) and of a reason ("key", "clock", ...; ""
 * for 0); "unknown" for any other number. Static, never NULL. */
const char *hubkey_state_name(int32_t state);
const char *hubkey_reason_name(int32_t reason);

/* Callbacks. They run on the thread that calls hubkey_client_dispatch or hubkey_client_wait, one at a time, and may
 * call every function of this library but those named under HUBKEY_E_RECURSION. text is borrowed until they return. */

/* The state (HUBKEY_STATE_*), its reason (HUBKEY_REASON_*) or text, its explanation, changed; the first call tells what
 * they are. Of changes that follow each other while nobody dispatches, the last is always told. */
typedef void (*hubkey_state_fn)(int32_t state, int32_t reason, const char *text, void *user);

#define HUBKEY_GONE_DELIVERED 1 /* the hub accepted them */
#define HUBKEY_GONE_DEAD 2      /* the hub refused the message for good; it is kept in the queue's file */
#define HUBKEY_GONE_DROPPED 3   /* HUBKEY_POLICY_DROP_OLDEST */
#define HUBKEY_GONE_REMOVED 4   /* an operator removed them */
#define HUBKEY_GONE_EXPIRED 5   /* they came to their ttl_s or max_age_s; counted among the dropped */
#define HUBKEY_GONE_LOST 6      /* they could not be read any more in a damaged file; counted among the dropped */

/* The messages first_seq to last_seq left the queue by this client's doing: each of them, as how says. text: why, ""
 * for delivered ones. */
typedef void (*hubkey_gone_fn)(uint64_t first_seq, uint64_t last_seq, int32_t how, const char *text, void *user);

#define HUBKEY_LOG_ERROR 1   /* needs a human */
#define HUBKEY_LOG_WARNING 2 /* degraded, going on */
#define HUBKEY_LOG_INFO 3    /* changes of state */
#define HUBKEY_LOG_DEBUG 4   /* decisions */

/* text: a line for the program's log, without newline, of importance level (HUBKEY_LOG_*). Never contains a secret. */
typedef void (*hubkey_log_fn)(int32_t level, const char *text, void *user);

/* Sets (NULL: removes) the callbacks state, gone and log and the pointer given to all three. They have to stay good
 * until they are set anew and no dispatch runs any more. Without callbacks nothing has to be dispatched. What nobody
 * dispatches is kept up to 1024 events; beyond that the oldest are lost, though never the last state, and counted in
 * events_lost. A new callback is told the state at once. Has no errors of its own: HUBKEY_E_FORKED and the like. */
int hubkey_client_set_callbacks(hubkey_client *client, hubkey_state_fn state, hubkey_gone_fn gone, hubkey_log_fn log,
                                void *user);

/* A descriptor that is readable while there are callbacks to run; for poll, epoll, GLib and the like. Owned by the
 * client: do not read or close it, and take it out of the loop before closing the client. Errors: HUBKEY_E_FORKED and
 * the like. */
int hubkey_client_fd(hubkey_client *client);

/* Runs the callbacks that are due, without waiting: 1024 at most, so that others get their turn. Returns how many ran,
 * or HUBKEY_E_CLOSED after a callback closed the client (which then is gone). Two threads take turns.
 *
 * Errors: also HUBKEY_E_RECURSION. */
int hubkey_client_dispatch(hubkey_client *client);

/* Waits up to timeout_ms until a callback is due, then dispatches. Returns as dispatch does; 0 after the timeout, or
 * when a signal was handled meanwhile. Errors: HUBKEY_E_CLOSED, HUBKEY_E_RECURSION. */
int hubkey_client_wait(hubkey_client *client, int32_t timeout_ms);

/* Counts of a queue. They belong to the file, over all processes and restarts, and always
 *     accepted = delivered + waiting + dead + dropped + removed */
struct hubkey_counts {
    uint64_t accepted;      /* posts that returned 0 */
    uint64_t delivered;     /* accepted by the hub */
    uint64_t waiting;       /* still to be sent, or being sent */
    uint64_t dead;          /* refused by the hub for good; kept in the file */
    uint64_t dropped;       /* by HUBKEY_POLICY_DROP_OLDEST, or expired, or lost with a damaged file */
    uint64_t removed;       /* by an operator */
    uint64_t waiting_bytes; /* of waiting, as the hub counts */
    uint64_t last_seq;      /* the newest message's number */
};

struct hubkey_stats {
    uint32_t size;
    int32_t state;                /* HUBKEY_STATE_* */
    int32_t reason;               /* HUBKEY_REASON_* */
    int32_t http_status;          /* of the hub's last answer, 0 before */
    struct hubkey_counts counts;  /* of the file; all that follows is since open */
    uint64_t in_flight;           /* messages in the request that runs now */
    uint64_t requests;            /* telemetry requests begun */
    uint64_t requests_failed;     /* of them, those that were not accepted */
    uint64_t batches;             /* of them, those with more than one message */
    uint64_t token_fetches;       /* tokens taken from hubkeyd */
    uint64_t duplicates_possible; /* messages sent again although the hub may have accepted them before */
    uint64_t events_lost;         /* callbacks that were not run because nobody dispatched */
    int64_t next_attempt_ms;      /* when the sender goes on by itself; 0: nothing is put off */
    int64_t last_delivery_ms;     /* when the hub accepted something last; 0: none yet */
    int64_t clock_skew_s;         /* the hub's clock minus this machine's, at its last answer */
    char text[256];               /* what holds the sender up, "" when nothing does */
    uint64_t expired;             /* of counts.dropped: those that came to their ttl_s or max_age_s */
    uint64_t lost;                /* of counts.dropped: those that could not be read any more in a damaged file */
};

/* Fills stats->size bytes. The counts are read from the file. Errors: HUBKEY_E_SIZE, and -2xx where the queue cannot be
 * read; stats is not touched then. */
int hubkey_client_stats(hubkey_client *client, struct hubkey_stats *stats);

/* ---- Queues without a client: for tools -------------------------------------------------------------------------- */

/* What changes a queue first carries over what a damaged file still holds; hubkey_queue_status tells what came of it:
 * lost, damaged_files. */

/* Where the queue of a slot lies when no path is given: $STATE_DIRECTORY/slot-N.queue (the first directory of the
 * list); for root /var/lib/hubkey-client/slot-N.queue; else ${XDG_STATE_HOME:-~/.local/state}/hubkey/slot-N.queue.
 * Nothing is made or looked at there.
 *
 * slot  0 to 65535
 * path  for hubkey_free
 *
 * Errors: HUBKEY_E_INVALID; HUBKEY_E_QUEUE_OPEN where the environment names no absolute path. */
int hubkey_queue_path(uint32_t slot, char **path, struct hubkey_error *error);

struct hubkey_queue_info {
    uint32_t size;
    int32_t holder_pid;          /* who sends from it now; 0: nobody; -1: somebody who could not say */
    struct hubkey_counts counts; /* all that ever came and went */
    int64_t oldest_ms;           /* creation time of the oldest waiting message; 0: none */
    int64_t file_bytes;          /* on disk, journal included */
    int64_t holder_since_ms;     /* since when the holder has been sending */
    char holder[64];             /* its program's name */
    char host[256];              /* whom the queue belongs to; "" while nothing was recorded */
    char device[136];            /* its device, "" likewise */
    char module[136];            /* and module; "" for the device itself */
    /* What the sender said last. It holds now where sender_pid is holder_pid; else it was his last word before he ended
     * (HUBKEY_STATE_STOPPED) or was killed (anything else). */
    int32_t sender_pid;       /* 0: nobody has said anything yet */
    int32_t state;            /* HUBKEY_STATE_* */
    int32_t reason;           /* HUBKEY_REASON_* */
    int32_t http_status;      /* of the hub's last answer to him */
    int64_t state_since_ms;   /* since when state and reason are these */
    int64_t next_attempt_ms;  /* when he goes on by himself; 0: nothing is put off */
    int64_t last_delivery_ms; /* when the hub accepted something last; 0: none yet */
    char state_text[256];     /* what holds him up, "" when nothing does */
    uint64_t expired;         /* of counts.dropped: those that came to their ttl_s or max_age_s */
    int64_t clock_skew_s;     /* the hub's clock minus this machine's, at the hub's last answer to him */
    uint64_t lost;            /* of counts.dropped: those that could not be read any more in a damaged file */
    uint32_t salvage;         /* N: the messages of the damaged FILE.salvage-N are being carried over; 0: none are */
    uint32_t damaged_files;   /* how many FILE.damaged-N are kept */
};

/* Reads the queue at path into info->size bytes, also beside a running client, and changes nothing. Errors:
 * HUBKEY_E_QUEUE_OPEN (also when it does not exist), HUBKEY_E_QUEUE_OLDER, -2xx. */
int hubkey_queue_status(const char *path, struct hubkey_queue_info *info, struct hubkey_error *error);

/* Gives the queue at path to another identity, so that its messages go to that one; module may be NULL. With host and
 * device NULL the queue belongs to nobody, until its slot is read next.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_QUEUE_HELD while somebody sends, HUBKEY_E_QUEUE_OPEN (also when it does not
 * exist), -2xx. */
int hubkey_queue_rebind(const char *path, const char *host, const char *device, const char *module,
                        struct hubkey_error *error);

#define HUBKEY_DROP_WAITING 1u /* those still to be sent */
#define HUBKEY_DROP_DEAD 2u    /* those the hub refused for good */

/* Removes messages of the queue at path for good and counts them as removed: which, HUBKEY_DROP_WAITING,
 * HUBKEY_DROP_DEAD or both; n (may be NULL) says how many. Dropping the waiting ones also makes the queue belong to
 * nobody.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_QUEUE_HELD while somebody sends, HUBKEY_E_QUEUE_OPEN (also when it does not
 * exist), -2xx. */
int hubkey_queue_drop(const char *path, uint32_t which, uint64_t *n, struct hubkey_error *error);

/* hubkey_queue_drop for the messages numbered up to through only (UINT64_MAX: all): those that were seen, or copied,
 * before, and not what came meanwhile. path, which and n are as there. The queue goes on belonging to whom it does as
 * long as others wait.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_QUEUE_HELD while somebody sends, HUBKEY_E_QUEUE_OPEN, -2xx. */
int hubkey_queue_drop_through(const char *path, uint32_t which, uint64_t through, uint64_t *n,
                              struct hubkey_error *error);

#define HUBKEY_ROWS_WAITING 1u /* those still to be sent */
#define HUBKEY_ROWS_DEAD 2u    /* those the hub refused for good */

/* A message of a queue, as a function below is shown it; everything it points to lives until the function returns. */
struct hubkey_queue_row {
    uint32_t size;
    uint32_t counted;                     /* bytes as the hub counts them */
    uint64_t seq;                         /* its number */
    const struct hubkey_message *message; /* as it was posted, id and created_ms filled in; can be posted as it is */
    int64_t buried_ms;                    /* when the hub refused it for good; 0 for one that waits */
    int32_t status;                       /* of a dead one: the hub's HTTP status */
    uint32_t reserved;                    /* 0 */
    const char *reason;                   /* of a dead one: why; "" for one that waits */
    int64_t expires_ms;                   /* when it ends, Unix time as this machine has it, and so its message's ttl_s
                                             begins now; 0: never */
};

/* row is good until it returns. 0: go on; anything else: enough. */
typedef int (*hubkey_row_fn)(const struct hubkey_queue_row *row, void *user);

/* Calls fn with the messages of the queue at path numbered above after, in order, limit of them at most (0: all), on
 * the calling thread. which: HUBKEY_ROWS_WAITING or HUBKEY_ROWS_DEAD. Works beside a running client: no lock and no
 * transaction is held while fn runs, so it may take its time and call any function of this library; messages that come
 * or leave meanwhile may or may not be seen.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_QUEUE_OPEN (also when it does not exist), HUBKEY_E_QUEUE_OLDER, -2xx; what was
 * shown before was good. HUBKEY_E_QUEUE_DAMAGED where messages are not what was stored, or are still in a damaged file:
 * they were left out, and all others shown. */
int hubkey_queue_each(const char *path, uint32_t which, uint64_t after, uint64_t limit, hubkey_row_fn fn, void *user,
                      struct hubkey_error *error);

/* Puts the dead messages of the queue at path numbered first to last (UINT64_MAX: all from first) behind those that
 * wait, to be sent once more: same id, same creation time, a new number; the old numbers count as removed for
 * hubkey_client_wait_seq. first: from 1. n (may be NULL): how many were moved, also on failure; 500 of them move in one
 * transaction. Bounds of clients do not hold here.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_QUEUE_HELD while somebody sends, HUBKEY_E_QUEUE_OPEN, -2xx; HUBKEY_E_QUEUE_DAMAGED
 * where messages are not what was stored: they stayed where they were, and all others were moved. */
int hubkey_queue_requeue(const char *path, uint64_t first, uint64_t last, uint64_t *n, struct hubkey_error *error);

/* Accepts n messages (1 to 10 000), all or none, as hubkey_client_post_many does, into the queue at path, which nobody
 * may be sending from; it is made where there is none. first_seq (may be NULL): the number of the first. For messages
 * of another queue, whose id and created_ms they keep. 64 MiB of the disk stay free; other bounds of clients do not
 * hold here.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_SIZE, HUBKEY_E_TOO_LARGE, HUBKEY_E_FULL (the disk), HUBKEY_E_QUEUE_HELD, -2xx.
 * After any error nothing was accepted. */
int hubkey_queue_import(const char *path, const struct hubkey_message *const *messages, size_t n, uint64_t *first_seq,
                        struct hubkey_error *error);

/* Looks whether the queue at path is whole: the pages of its file, the counters against the messages, each message and
 * its checksum, and whether a damaged file has others that are still to be carried over. Reads all of it, also beside a
 * running client, and changes nothing. log (may be NULL) is called on the calling thread with HUBKEY_LOG_ERROR and a
 * sentence for each thing that is wrong.
 *
 * Returns how many were found: 0, all is well. Errors: HUBKEY_E_QUEUE_DAMAGED where the file is none that can be read
 * at all, HUBKEY_E_QUEUE_OPEN, HUBKEY_E_QUEUE_OLDER, -2xx. */
int hubkey_queue_check(const char *path, hubkey_log_fn log, void *user, struct hubkey_error *error);

/* Carries over what a damaged file of the queue at path still holds, if there is one. hubkey_queue_drop and the others
 * that change the messages do so by themselves, and say nothing. log (may be NULL) is called on the calling thread with
 * HUBKEY_LOG_ERROR and a sentence about what could be read and what could not.
 *
 * Errors: HUBKEY_E_INVALID, HUBKEY_E_QUEUE_HELD while somebody sends, who does the same, HUBKEY_E_QUEUE_OPEN, -2xx. */
int hubkey_queue_salvage(const char *path, hubkey_log_fn log, void *user, struct hubkey_error *error);

#ifdef __cplusplus
}
#endif

#endif
