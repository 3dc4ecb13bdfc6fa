/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A program with a poll loop of its own: a door controller's log line is posted as it comes, and the loop hears of each
 * delivery without a thread and without waiting anywhere else.
 *
 *     poll < /dev/ttyS0
 *
 * The client is one more descriptor in the loop. It is readable while there are callbacks to run, and dispatch runs
 * them, on this thread and nowhere else: no lock is needed in this program.
 *
 * Build it with: cc poll.c $(pkg-config --cflags --libs hubkey) -o poll
 */
#include <hubkey.h>

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* for what is still to be delivered when the input has ended */

static uint64_t last_posted, last_gone; /* numbers of messages, which grow */

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    (void)reason;
    (void)user;
    printf("-- %s%s%s\n", hubkey_state_name(state), text[0] ? ": " : "", text);
}

/* Messages leave the queue in ranges: a backlog of a thousand is one call, not a thousand. */
static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    (void)user;
    last_gone = last > last_gone ? last : last_gone; /* what is refused leaves after what stood behind it */
    printf("%s %" PRIu64 " to %" PRIu64 " %s\n", how == HUBKEY_GONE_DELIVERED ? "delivered" : "LOST", first, last,
           text);
}

static void
post_line(hubkey_client *client, const char *line, size_t len)
{
    static const struct hubkey_property kind = { "kind", "door" };
    struct hubkey_error error;
    struct hubkey_message message = {
        .size = sizeof message, .body = line, .len = len, .n_properties = 1, .properties = &kind
    };
    /* Returns when the line is on disk: a millisecond or ten, whatever the network does. */
    if (hubkey_client_post(client, &message, 0, &last_posted, &error) != 0)
        fprintf(stderr, "poll: not accepted: %s\n", error.text);
}

/* Posts the whole lines of what has been read, and keeps the rest. False at the end of the input. */
static int
read_lines(hubkey_client *client)
{
    static char buffer[4096];
    static size_t have;
    ssize_t n = read(STDIN_FILENO, buffer + have, sizeof buffer - have);
    have += n > 0 ? (size_t)n : 0;
    for (char *end; (end = memchr(buffer, '\n', have)) != NULL;) {
        size_t len = (size_t)(end - buffer);
        post_line(client, buffer, len);
        have -= len + 1;
        memmove(buffer, end + 1, have);
    }
    if (have == sizeof buffer || (n <= 0 && have > 0)) { /* too long a line, or a last one without its end */
        post_line(client, buffer, have);
        have = 0;
    }
    return n > 0;
}

static void
loop(hubkey_client *client)
{
    /* poll ignores a negative descriptor: that is how the input leaves the loop. */
    struct pollfd fds[] = { { .fd = hubkey_client_fd(client), .events = POLLIN }, { STDIN_FILENO, POLLIN, 0 } };
    while (fds[1].fd >= 0 || last_gone < last_posted) {
        if (poll(fds, 2, fds[1].fd >= 0 ? -1 : PATIENCE_MS) == 0)
            break;
        if (fds[0].revents)
            hubkey_client_dispatch(client);
        if (fds[1].revents && !read_lines(client))
            fds[1].fd = -1;
    }
}

int
main(void)
{
    struct hubkey_options options = { .size = sizeof options };
    struct hubkey_error error;
    hubkey_client *client;
    if (hubkey_client_open(&options, &client, &error) != 0) {
        fprintf(stderr, "poll: %s\n", error.text);
        return 1;
    }
    hubkey_client_set_callbacks(client, on_state, on_gone, NULL, NULL);
    loop(client);
    if (last_gone < last_posted)
        printf("lines are still queued, and safe: they are sent when the program runs again\n");
    return hubkey_client_close(client, 0) == 0 ? 0 : 1;
}
