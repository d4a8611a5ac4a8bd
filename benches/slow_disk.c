/* A disk that takes longer to commit: adds SLOW_DISK_US microseconds to each fsync and fdatasync.
 *
 * cc -O2 -shared -fPIC -o /tmp/slow_disk.so benches/slow_disk.c
 * SLOW_DISK_US=800 LD_PRELOAD=/tmp/slow_disk.so cargo bench --bench door
 *
 * Both sides of the benchmark load it: the program in its own process, and the shardd that it starts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static long delay_ns;

__attribute__((constructor)) static void read_delay(void)
{
    const char *text = getenv("SLOW_DISK_US");
    delay_ns = text ? atol(text) * 1000 : 0;
}

static int slow(int result)
{
    int error = errno;
    if (delay_ns > 0) {
        struct timespec delay = {delay_ns / 1000000000, delay_ns % 1000000000};
        /* The kernel would add 50 us of its own. */
        prctl(PR_SET_TIMERSLACK, 1UL);
        nanosleep(&delay, NULL);
    }
    errno = error;
    return result;
}

int fsync(int file)
{
    return slow((int)syscall(SYS_fsync, file));
}

int fdatasync(int file)
{
    return slow((int)syscall(SYS_fdatasync, file));
}
