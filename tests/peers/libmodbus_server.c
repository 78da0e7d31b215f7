/* libmodbus's server with the contents of contents.txt, on a free port of loopback.
 *
 * One thread, several clients. Prints its port as one line when it accepts connections. Addresses beyond a table
 * are answered with exception 02, units that are not there with exception 0B. Usage: libmodbus_server contents.txt
 *
 * With a second argument: RTU on that serial port, as unit 1; libmodbus answers for one unit only.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNITS 256

static modbus_mapping_t *units[UNITS];

static void die(const char *what)
{
    fprintf(stderr, "libmodbus_server: %s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

/* One mapping a unit; the file has unit, function, number of values and the values in each line. */
static void load(const char *path)
{
    struct table {
        int count;
        unsigned *values;
    } tables[UNITS][5];
    unsigned unit, function, count;
    FILE *file = fopen(path, "r");

    if (!file)
        die(path);
    memset(tables, 0, sizeof tables);
    while (fscanf(file, "%u %u %u", &unit, &function, &count) == 3) {
        struct table *table;
        if (unit >= UNITS || function < 1 || function > 4 || count > 65536) {
            fprintf(stderr, "libmodbus_server: %s: a line for unit %u, function %u is wrong\n", path, unit, function);
            exit(1);
        }
        table = &tables[unit][function];
        table->count = (int)count;
        table->values = calloc(count ? count : 1, sizeof *table->values);
        if (!table->values)
            die("memory");
        for (unsigned i = 0; i < count; i++)
            if (fscanf(file, "%u", &table->values[i]) != 1) {
                fprintf(stderr, "libmodbus_server: %s: values are missing\n", path);
                exit(1);
            }
    }
    fclose(file);

    for (unit = 0; unit < UNITS; unit++) {
        struct table *t = tables[unit];
        modbus_mapping_t *map;
        if (t[1].count + t[2].count + t[3].count + t[4].count == 0)
            continue;
        map = modbus_mapping_new(t[1].count, t[2].count, t[3].count, t[4].count);
        if (!map)
            die("mapping");
        for (int i = 0; i < t[1].count; i++)
            map->tab_bits[i] = (uint8_t)t[1].values[i];
        for (int i = 0; i < t[2].count; i++)
            map->tab_input_bits[i] = (uint8_t)t[2].values[i];
        for (int i = 0; i < t[3].count; i++)
            map->tab_registers[i] = (uint16_t)t[3].values[i];
        for (int i = 0; i < t[4].count; i++)
            map->tab_input_registers[i] = (uint16_t)t[4].values[i];
        units[unit] = map;
        for (int function_code = 1; function_code <= 4; function_code++)
            free(t[function_code].values);
    }
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 16)
        || getsockname(fd, (struct sockaddr *)&address, &size))
        die("listen");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

static int serve_port(const char *path)
{
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    modbus_t *ctx = modbus_new_rtu(path, 115200, 'N', 8, 1);

    if (!ctx || modbus_set_slave(ctx, 1) || modbus_connect(ctx))
        die(path);
    puts("0");
    fflush(stdout);
    for (;;) {
        int length = modbus_receive(ctx, query);
        if (length > 0)
            modbus_reply(ctx, query, length, units[1]);
        else if (length < 0 && errno == EIO)
            return 0;
    }
}

int main(int argc, char **argv)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    modbus_t *ctx;
    fd_set clients;
    int listener, highest;

    if (argc != 2 && argc != 3) {
        fprintf(stderr, "usage: %s contents.txt [port]\n", argv[0]);
        return 2;
    }
    load(argv[1]);
    if (argc == 3)
        return serve_port(argv[2]);
    ctx = modbus_new_tcp("127.0.0.1", 0);
    if (!ctx)
        die("context");
    listener = highest = listen_anywhere();
    FD_ZERO(&clients);
    FD_SET(listener, &clients);

    for (;;) {
        fd_set ready = clients;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0) {
            if (errno == EINTR)
                continue;
            die("select");
        }
        for (int fd = 0; fd <= highest; fd++) {
            int length;
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client >= FD_SETSIZE)
                    close(client);
                else if (client >= 0) {
                    FD_SET(client, &clients);
                    highest = client > highest ? client : highest;
                }
                continue;
            }
            modbus_set_socket(ctx, fd);
            length = modbus_receive(ctx, query);
            if (length > 0) {
                modbus_mapping_t *map = units[query[modbus_get_header_length(ctx) - 1]];
                if (map)
                    length = modbus_reply(ctx, query, length, map);
                else
                    length = modbus_reply_exception(ctx, query, MODBUS_EXCEPTION_GATEWAY_TARGET);
            }
            if (length < 0) {
                close(fd);
                FD_CLR(fd, &clients);
            }
        }
    }
}
