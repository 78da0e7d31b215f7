// The loop that a gateway is measured against: one thread a device on libmodbus, SCHED_FIFO on one CPU, absolute sleeps, phases
// spread evenly. It reads and decodes, and does nothing with the values.
//
// libmodbus_loop CPU SECONDS PERIOD_US REGISTERS HOST:PORT... prints one line of JSON, times in nanoseconds.
#define _GNU_SOURCE
#include <errno.h>
#include <modbus/modbus.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { READ_MAX = 125, DEVICES_MAX = 64 };

struct device {
    char host[64];
    int port, at;
    int64_t cycles, skipped, late, errors, cpu_ns;
    double sum;
    int64_t *release, *issue, *age;
    pthread_t thread;
};

static struct device devices[DEVICES_MAX];
static int count, registers;
static int64_t start_ns, end_ns, period_ns;

static int64_t clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void sleep_until(int64_t at) {
    struct timespec t = {at / 1000000000LL, at % 1000000000LL};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {
    }
}

static void *run(void *arg) {
    struct device *d = arg;
    modbus_t *line = modbus_new_tcp(d->host, d->port);
    if (line == NULL || modbus_set_slave(line, 1) != 0 || modbus_connect(line) != 0) {
        fprintf(stderr, "error: %s:%d: %s\n", d->host, d->port, modbus_strerror(errno));
        exit(1);
    }
    modbus_set_response_timeout(line, 0, 200000);
    uint16_t words[READ_MAX];
    for (int64_t due = start_ns + period_ns * d->at / count; due < end_ns; due += period_ns) {
        int64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now > due + period_ns) {
            int64_t skipped = (now - due) / period_ns;
            d->skipped += skipped;
            due += skipped * period_ns;
        }
        sleep_until(due);
        int64_t sent = clock_ns(CLOCK_MONOTONIC);
        d->release[d->cycles] = sent - due;
        for (int at = 0; at < registers; at += READ_MAX) {
            int n = registers - at < READ_MAX ? registers - at : READ_MAX;
            sent = clock_ns(CLOCK_MONOTONIC);
            if (modbus_read_registers(line, at, n, words) != n) {
                d->errors++;
                continue;
            }
            for (int i = 0; i + 1 < n; i += 2) d->sum += modbus_get_float_abcd(words + i);
        }
        now = clock_ns(CLOCK_MONOTONIC);
        d->issue[d->cycles] = sent - due;
        d->age[d->cycles] = now - (sent + (now - sent) / 2);
        d->cycles++;
        d->late += now > due + period_ns;
    }
    d->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    modbus_free(line);
    return NULL;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void quantiles(const char *name, size_t field) {
    size_t n = 0, filled = 0;
    for (int i = 0; i < count; i++) n += devices[i].cycles;
    int64_t *all = malloc((n + 1) * sizeof *all);
    for (int i = 0; i < count; i++) {
        memcpy(all + filled, *(int64_t **)((char *)&devices[i] + field), devices[i].cycles * sizeof *all);
        filled += devices[i].cycles;
    }
    qsort(all, n, sizeof *all, by_size);
    if (n > 0)
        printf(",\"%s\":{\"p50\":%ld,\"p99\":%ld,\"p999\":%ld,\"max\":%ld}", name, (long)all[n / 2], (long)all[n * 99 / 100],
               (long)all[n * 999 / 1000], (long)all[n - 1]);
    free(all);
}

static double used_s(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + 1e-6 * (used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

int main(int argc, char **argv) {
    if (argc < 6 || argc - 5 > DEVICES_MAX) {
        fprintf(stderr, "usage: libmodbus_loop CPU SECONDS PERIOD_US REGISTERS HOST:PORT...\n");
        return 2;
    }
    int seconds = atoi(argv[2]);
    period_ns = atoll(argv[3]) * 1000;
    registers = atoi(argv[4]);
    count = argc - 5;
    start_ns = clock_ns(CLOCK_MONOTONIC) + 200000000;
    end_ns = start_ns + seconds * 1000000000LL;
    pthread_attr_t attr;
    cpu_set_t cpu;
    struct sched_param priority = {.sched_priority = 80};
    CPU_ZERO(&cpu);
    CPU_SET(atoi(argv[1]), &cpu);
    pthread_attr_init(&attr);
    pthread_attr_setaffinity_np(&attr, sizeof cpu, &cpu);
    pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
    pthread_attr_setschedparam(&attr, &priority);
    pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
    for (int i = 0; i < count; i++) {
        struct device *d = &devices[i];
        char *colon = strrchr(argv[5 + i], ':');
        if (colon == NULL) return 2;
        snprintf(d->host, sizeof d->host, "%.*s", (int)(colon - argv[5 + i]), argv[5 + i]);
        d->port = atoi(colon + 1);
        d->at = i;
        size_t room = seconds * 1000000000LL / period_ns + 16;
        d->release = calloc(room, sizeof(int64_t));
        d->issue = calloc(room, sizeof(int64_t));
        d->age = calloc(room, sizeof(int64_t));
        errno = pthread_create(&d->thread, &attr, run, d);
        if (errno != 0) {
            perror("error: a thread at SCHED_FIFO");
            return 1;
        }
    }
    sleep_until(start_ns);
    double before = used_s();
    int64_t cycles = 0, skipped = 0, late = 0, errors = 0, cpu_ns = 0;
    double sum = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(devices[i].thread, NULL);
        cycles += devices[i].cycles;
        skipped += devices[i].skipped;
        late += devices[i].late;
        errors += devices[i].errors;
        cpu_ns += devices[i].cpu_ns;
        sum += devices[i].sum;
    }
    printf("{\"cycles\":%ld,\"skipped\":%ld,\"late\":%ld,\"errors\":%ld,\"cpu_seconds\":%.4f,\"threads_cpu_seconds\":%.4f", (long)cycles,
           (long)skipped, (long)late, (long)errors, used_s() - before, cpu_ns / 1e9);
    printf(",\"sum\":%g", sum);
    quantiles("release_jitter_ns", offsetof(struct device, release));
    quantiles("issue_jitter_ns", offsetof(struct device, issue));
    quantiles("sample_age_ns", offsetof(struct device, age));
    printf("}\n");
    return 0;
}
