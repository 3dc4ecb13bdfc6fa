/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * One client, many threads: a gateway that watches several things at once. Here each thread reads the counters of one
 * network interface and posts them, COUNT times; on a real gateway each would serve one machine on a field bus.
 *
 *     threads [COUNT [INTERVAL-MS]]
 *
 * Every function of libhubkey may be called from every thread. Threads that post at the same moment share one flush of
 * the disk, so many threads post many times faster than one.
 *
 * Build it with: cc threads.c $(pkg-config --cflags --libs hubkey) -o threads -pthread
 */
#include <hubkey.h>

#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct job {
    pthread_t thread;
    hubkey_client *client; /* the same for all */
    const char *interface;
    long count;
    useconds_t interval_us;
    long refused;
};

static unsigned long long
read_counter(const char *interface, const char *counter)
{
    char path[128];
    unsigned long long value = 0;
    snprintf(path, sizeof path, "/sys/class/net/%s/statistics/%s", interface, counter);
    FILE *file = fopen(path, "re");
    if (file) {
        if (fscanf(file, "%llu", &value) != 1)
            value = 0;
        fclose(file);
    }
    return value;
}

/* The library copies what it is given before post returns: everything here may live on the stack. */
static int
post_counters(struct job *job, long n)
{
    const struct hubkey_property properties[] = { { "kind", "counters" }, { "interface", job->interface } };
    char json[128];
    struct hubkey_error error; /* the caller's own: threads never see each other's */
    int len = snprintf(json, sizeof json, "{\"n\":%ld,\"received\":%llu,\"sent\":%llu}", n,
                       read_counter(job->interface, "rx_bytes"), read_counter(job->interface, "tx_bytes"));
    struct hubkey_message message = { .size = sizeof message,
                                      .body = json,
                                      .len = (uint64_t)len,
                                      .content_type = "application/json",
                                      .content_encoding = "utf-8",
                                      .n_properties = 2,
                                      .properties = properties };
    int result = hubkey_client_post(job->client, &message, 1000, NULL, &error);
    if (result != 0)
        fprintf(stderr, "threads: %s: %s\n", job->interface, error.text);
    return result;
}

static void *
work(void *user)
{
    struct job *job = user;
    for (long n = 1; n <= job->count; n++) {
        job->refused += post_counters(job, n) != 0;
        usleep(job->interval_us);
    }
    return NULL;
}

/* Ends when all threads have: only then may the client be closed. */
static long
run(hubkey_client *client, const struct if_nameindex *interfaces, long count, useconds_t interval_us)
{
    struct job jobs[64] = { 0 };
    size_t n = 0;
    long refused = 0;
    for (; n < sizeof jobs / sizeof *jobs && interfaces[n].if_name; n++) {
        jobs[n] = (struct job){ 0, client, interfaces[n].if_name, count, interval_us, 0 };
        if (pthread_create(&jobs[n].thread, NULL, work, &jobs[n]) != 0)
            break;
    }
    for (size_t i = 0; i < n; i++) {
        pthread_join(jobs[i].thread, NULL);
        refused += jobs[i].refused;
    }
    printf("%zu threads have posted %ld messages\n", n, (long)n * count - refused);
    return refused;
}

int
main(int argc, char **argv)
{
    struct hubkey_options options = { .size = sizeof options };
    struct hubkey_error error;
    hubkey_client *client;
    long count = argc > 1 ? atol(argv[1]) : 10, interval_ms = argc > 2 ? atol(argv[2]) : 1000;
    struct if_nameindex *interfaces = if_nameindex();
    if (!interfaces || hubkey_client_open(&options, &client, &error) != 0) {
        fprintf(stderr, "threads: %s\n", interfaces ? error.text : "cannot list the network interfaces");
        return 1;
    }
    long refused = run(client, interfaces, count, (useconds_t)interval_ms * 1000);
    if_freenameindex(interfaces);
    if (hubkey_client_flush(client, 30000, &error) != 0)
        printf("%s; they will be sent by whoever opens the queue next\n", error.text);
    return hubkey_client_close(client, 0) != 0 || refused > 0;
}
