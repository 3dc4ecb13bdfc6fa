/* Copyright (c) 2026 the hubkey authors
 * SPDX-License-Identifier: BSD-2-Clause
 *
 * A weather station whose weather is this machine's: it posts one reading of the sensors a second. Pull the network,
 * stop the hub, kill it: what was posted arrives, in order, once it can.
 *
 *     weather-station [--slot N] [--interval-ms MS] [--count N]
 *
 * Build it with: cc weather-station.c $(pkg-config --cflags --libs hubkey) -o weather-station
 */
#include <hubkey.h>

#include <getopt.h>
#include <glob.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static volatile sig_atomic_t ending;

static void
end(int number)
{
    (void)number;
    ending = 1;
}

/* ---- Sensors */

/* The first number that a file matching pattern begins with, times scale. */
static int
read_sensor(const char *pattern, double scale, double *value)
{
    glob_t found;
    int good = 0;
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; !good && i < found.gl_pathc; i++) {
        FILE *file = fopen(found.gl_pathv[i], "re");
        good = file && fscanf(file, "%lf", value) == 1;
        if (file)
            fclose(file);
    }
    globfree(&found);
    if (good)
        *value *= scale;
    return good;
}

static double
free_memory_mib(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    char line[128];
    double kib = 0;
    while (file && fgets(line, sizeof line, file) && sscanf(line, "MemAvailable: %lf", &kib) != 1)
        continue;
    if (file)
        fclose(file);
    return kib / 1024;
}

/* One JSON object: a temperature where the machine has a sensor, load and memory always. Returns its length. */
static int
read_weather(long n, char *json, size_t size)
{
    double celsius, load = 0;
    char temperature[64] = "";
    if (read_sensor("/sys/class/hwmon/hwmon*/temp*_input", 0.001, &celsius) ||
        read_sensor("/sys/class/thermal/thermal_zone*/temp", 0.001, &celsius))
        snprintf(temperature, sizeof temperature, "\"temperature_c\":%.1f,", celsius);
    read_sensor("/proc/loadavg", 1, &load);
    return snprintf(json, size, "{\"n\":%ld,%s\"load\":%.2f,\"free_memory_mib\":%.0f}", n, temperature, load,
                    free_memory_mib());
}

/* ---- What the library tells */

static void
on_state(int32_t state, int32_t reason, const char *text, void *user)
{
    (void)user;
    printf("-- %s%s%s%s%s\n", hubkey_state_name(state), reason ? ", " : "", hubkey_reason_name(reason),
           text[0] ? ": " : "", text);
}

static void
on_gone(uint64_t first, uint64_t last, int32_t how, const char *text, void *user)
{
    (void)user;
    printf("   %s %" PRIu64 " to %" PRIu64 "%s%s\n", how == HUBKEY_GONE_DELIVERED ? "delivered" : "LOST", first, last,
           text[0] ? ": " : "", text);
}

/* ---- The station */

static void
post_reading(hubkey_client *client, long n)
{
    static const struct hubkey_property kind = { "kind", "weather" };
    char json[256];
    struct hubkey_error error;
    uint64_t seq;
    struct hubkey_message message = { .size = sizeof message,
                                      .body = json,
                                      .content_type = "application/json",
                                      .content_encoding = "utf-8",
                                      .n_properties = 1,
                                      .properties = &kind };
    message.len = (uint64_t)read_weather(n, json, sizeof json);
    if (hubkey_client_post(client, &message, 1000, &seq, &error) == 0)
        printf("   reading %" PRIu64 " %s\n", seq, json);
    else
        printf("-- reading %ld is not accepted: %s\n", n, error.text); /* a full disk, say; the next one may fit */
}

static int64_t
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
run(hubkey_client *client, long count, int32_t interval_ms)
{
    int64_t next = now_ms();
    for (long n = 1; !ending && (count == 0 || n <= count); n++) {
        post_reading(client, n);
        next += interval_ms;
        for (int64_t left = next - now_ms(); left > 0 && !ending; left = next - now_ms())
            hubkey_client_wait(client, (int32_t)left); /* sleeps, and runs the callbacks above */
    }
}

/* A whole number within bounds, or the end of the program. */
static long
number(const char *option, const char *text, long least, long most)
{
    char *rest;
    long value = strtol(text, &rest, 10);
    if (rest == text || *rest || value < least || value > most) {
        fprintf(stderr, "weather-station: --%s must be a number from %ld to %ld\n", option, least, most);
        exit(2);
    }
    return value;
}

int
main(int argc, char **argv)
{
    static const struct option known[] = {
        { "slot", 1, NULL, 's' }, { "interval-ms", 1, NULL, 'i' }, { "count", 1, NULL, 'c' }, { 0 }
    };
    struct hubkey_options options = { .size = sizeof options };
    struct sigaction action = { .sa_handler = end };
    struct hubkey_error error;
    hubkey_client *client;
    long count = 0, interval_ms = 1000;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (option == 's')
            options.slot = (uint32_t)number("slot", optarg, 0, 65535);
        else if (option == 'i')
            interval_ms = number("interval-ms", optarg, 1, 86400000);
        else if (option == 'c')
            count = number("count", optarg, 1, 1000000000);
        else
            return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    if (hubkey_client_open(&options, &client, &error) != 0) {
        fprintf(stderr, "weather-station: %s\n", error.text);
        return 1;
    }
    hubkey_client_set_callbacks(client, on_state, on_gone, NULL, NULL);
    run(client, count, (int32_t)interval_ms);
    /* At the end of a count there is time for the last ones; somebody who presses Ctrl-C wants to be gone. */
    if (hubkey_client_flush(client, ending ? 1000 : 30000, &error) != 0)
        printf("-- %s; they will be sent when the station runs again\n", error.text);
    hubkey_client_dispatch(client);
    return hubkey_client_close(client, 0) == 0 ? 0 : 1;
}
