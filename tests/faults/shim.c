// Stands between one node and libc: counts its calls on files, fails them as it is told, writes down what they change.
//
// Preloaded into an unmodified program; concerns files and folders below ACCORD_SHIM_DIR (an absolute path without links) alone.
//
// ACCORD_SHIM_CONTROL names a file of numbers (struct control), mapped by both sides, so that a plan is made while the node runs:
// "of class C, let `after` calls pass, then fail `times` with `error`". With `part`, the first write that is to fail takes half of
// its bytes and the next one fails, as on a disk that is full. Reads fail by their place: a page of a file is gone, for whoever reads it.
//
// ACCORD_SHIM_JOURNAL names a file to which every change that succeeded is appended, and every sync that succeeded with the number of
// the last change before it (struct record). From that and the folder as it was at the start follows what a disk may hold after a
// power cut. sync_file_range makes nothing durable and is not written down. A change that the model does not know - a rename from one
// folder to another, O_SYNC - ends the process with a word on stderr.
//
// Not seen, because nobody here makes them: changes through mappings, fallocate, copies within the kernel, links. The harness compares
// the whole of what was written down with the folder, so that a new kind of change is noticed.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

// Classes of calls, as the harness numbers them.
enum { OPEN, WRITE, SYNC, RANGE, RENAME, UNLINK, TRUNCATE, MKDIR, READ, CLASSES };

#define PAGE 4096

struct control {
    _Atomic uint64_t class; // one more than the class that is to fail; 0: none
    _Atomic uint64_t after; // calls of it that still pass
    _Atomic uint64_t times; // calls that then fail
    _Atomic uint64_t error; // with this errno
    _Atomic uint64_t part;  // a write takes half before
    _Atomic uint64_t failed;
    _Atomic uint64_t counted[CLASSES];
    _Atomic uint64_t inode; // of READ: the file of which this page cannot be read, however often
    _Atomic uint64_t page;
};

enum { CREATED = 1, WRITTEN, TRUNCATED, RENAMED, EXCHANGED, REMOVED, FOLDER, SYNCED, DATA_SYNCED };

struct record {
    uint64_t number, what, mode, folder, inode, offset;
    uint64_t name, other, data; // lengths of what follows, in this order
};

static struct control nothing;
static struct control *control = &nothing;
static char below[4096];
static size_t below_length;
static int journal = -1;
static uint64_t number;
// One change and its record at a time, so that records have the order of the changes.
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t plan = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static void unknown(const char *what, const char *path) {
    dprintf(2, "shim: not modelled: %s %s\n", what, path);
    abort();
}

static ssize_t append(const struct iovec *parts, int count) {
    REAL(writev);
    return real(journal, parts, count);
}

// Called with `order` held.
static void note(struct record record, const char *name, const char *other, const void *data) {
    if (journal < 0) return;
    record.number = ++number;
    struct iovec parts[] = {
        {&record, sizeof record},
        {(void *)name, record.name},
        {(void *)other, record.other},
        {(void *)data, record.data},
    };
    size_t all = sizeof record + record.name + record.other + record.data;
    if (append(parts, 4) != (ssize_t)all) unknown("the journal cannot be written", "");
}

// Whether this call is to fail: 0 no, 1 yes, 2 only behind half of its bytes.
static int fails(int class) {
    atomic_fetch_add(&control->counted[class], 1);
    if (atomic_load(&control->class) != (uint64_t)class + 1) return 0;
    int verdict = 0;
    pthread_mutex_lock(&plan);
    if (atomic_load(&control->after) > 0) {
        atomic_fetch_sub(&control->after, 1);
    } else if (atomic_load(&control->times) > 0) {
        if (atomic_load(&control->part)) {
            atomic_store(&control->part, 0);
            verdict = 2;
        } else {
            atomic_fetch_sub(&control->times, 1);
            atomic_fetch_add(&control->failed, 1);
            errno = (int)atomic_load(&control->error);
            verdict = 1;
        }
    }
    pthread_mutex_unlock(&plan);
    return verdict;
}

// The folders and files that were seen below the folder, by inode: a growing table of open addressing.
static struct { uint64_t *slots; size_t size, used; } seen;
static dev_t device;

static int is_seen(uint64_t inode) {
    if (!seen.size) return 0;
    for (size_t at = inode * 11400714819323198485u % seen.size;; at = (at + 1) % seen.size) {
        if (seen.slots[at] == inode) return 1;
        if (!seen.slots[at]) return 0;
    }
}

static void see(uint64_t inode) {
    if (is_seen(inode)) return;
    if ((seen.used + 1) * 2 > seen.size) {
        uint64_t *old = seen.slots;
        size_t before = seen.size;
        seen.size = before ? before * 2 : 1024;
        seen.used = 0;
        seen.slots = calloc(seen.size, sizeof *seen.slots);
        for (size_t at = 0; at < before; at++)
            if (old[at]) see(old[at]);
        free(old);
    }
    size_t at = inode * 11400714819323198485u % seen.size;
    while (seen.slots[at]) at = (at + 1) % seen.size;
    seen.slots[at] = inode;
    seen.used++;
}

// The inode behind a descriptor if it concerns us, else 0.
static uint64_t inode_of(int fd) {
    if (!below_length) return 0;
    struct stat stat;
    int before = errno;
    if (fstat(fd, &stat) || stat.st_dev != device || !(S_ISREG(stat.st_mode) || S_ISDIR(stat.st_mode))) {
        errno = before;
        return 0;
    }
    pthread_mutex_lock(&order);
    int is = is_seen(stat.st_ino);
    pthread_mutex_unlock(&order);
    return is ? stat.st_ino : 0;
}

// Where a name stands: the folder's inode and the last part of the path. `folder` is 0 if it does not concern us.
struct place {
    uint64_t folder;
    char name[256];
};

static struct place place_of(int at, const char *path) {
    struct place place = {0};
    if (!below_length || !path) return place;
    int before = errno;
    char whole[8192];
    struct stat stat;
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else if (at == AT_FDCWD) {
        char cwd[4096];
        if (!getcwd(cwd, sizeof cwd)) return place;
        snprintf(whole, sizeof whole, "%s/%s", cwd, path);
    } else {
        // Below an open folder, as whole trees are removed.
        uint64_t folder = inode_of(at);
        if (folder && strchr(path, '/')) unknown("a path below a descriptor", path);
        place.folder = folder;
        snprintf(place.name, sizeof place.name, "%s", path);
        return place;
    }
    size_t length = strlen(whole);
    while (length > 1 && whole[length - 1] == '/') whole[--length] = 0;
    if (strncmp(whole, below, below_length) || (whole[below_length] && whole[below_length] != '/')) return place;
    char *last = strrchr(whole, '/');
    snprintf(place.name, sizeof place.name, "%s", last + 1);
    *last = 0;
    if (!lstat(whole, &stat)) {
        place.folder = stat.st_ino;
        pthread_mutex_lock(&order);
        // The folder above all of it is not ours.
        if (strlen(whole) >= below_length) see(stat.st_ino);
        pthread_mutex_unlock(&order);
    }
    errno = before;
    return place;
}

static int opened(int at, const char *path, int flags, mode_t mode, int (*real)(int, const char *, int, mode_t)) {
    struct place place = place_of(at, path);
    if (!place.folder) return real(at, path, flags, mode);
    int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
    if (writes && (flags & (O_SYNC | O_DSYNC) || (flags & O_TMPFILE) == O_TMPFILE)) unknown("open", path);
    if (writes && fails(OPEN) == 1) return -1;
    pthread_mutex_lock(&order);
    struct stat stat;
    int before = errno;
    int exists = !fstatat(at, path, &stat, AT_SYMLINK_NOFOLLOW);
    off_t size = exists ? stat.st_size : 0;
    errno = before;
    int fd = real(at, path, flags, mode);
    if (fd >= 0 && !fstat(fd, &stat)) {
        see(stat.st_ino);
        struct record record = {.mode = stat.st_mode & 07777, .folder = place.folder, .inode = stat.st_ino};
        if (!exists) {
            record.what = CREATED;
            record.name = strlen(place.name);
            note(record, place.name, "", "");
        } else if (flags & O_TRUNC && size) {
            record.what = TRUNCATED;
            note(record, "", "", "");
        }
    }
    pthread_mutex_unlock(&order);
    return fd;
}

static int through_openat(int at, const char *path, int flags, mode_t mode) {
    REAL(openat);
    return real(at, path, flags, mode);
}

#define MODE_OF(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open(const char *path, int flags, ...) {
    MODE_OF(flags);
    return opened(AT_FDCWD, path, flags, mode, through_openat);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags);
    return opened(AT_FDCWD, path, flags | O_LARGEFILE, mode, through_openat);
}

int openat(int at, const char *path, int flags, ...) {
    MODE_OF(flags);
    return opened(at, path, flags, mode, through_openat);
}

int openat64(int at, const char *path, int flags, ...) {
    MODE_OF(flags);
    return opened(at, path, flags | O_LARGEFILE, mode, through_openat);
}

// One write at a place; -1 for where the descriptor stands.
static ssize_t written(int fd, const void *bytes, size_t length, off_t offset) {
    __typeof__(&write) real = (__typeof__(&write))dlsym(RTLD_NEXT, "write");
    __typeof__(&pwrite64) real_at = (__typeof__(&pwrite64))dlsym(RTLD_NEXT, "pwrite64");
    uint64_t inode = inode_of(fd);
    if (!inode) return offset < 0 ? real(fd, bytes, length) : real_at(fd, bytes, length, offset);
    int verdict = fails(WRITE);
    if (verdict == 1) return -1;
    if (verdict == 2 && length > 1) length /= 2;
    pthread_mutex_lock(&order);
    off_t place = offset;
    if (offset < 0) {
        struct stat stat;
        int is_at_end = fcntl(fd, F_GETFL) & O_APPEND && !fstat(fd, &stat);
        place = is_at_end ? stat.st_size : lseek(fd, 0, SEEK_CUR);
    }
    ssize_t done = offset < 0 ? real(fd, bytes, length) : real_at(fd, bytes, length, offset);
    if (done > 0) {
        struct record record = {.what = WRITTEN, .inode = inode, .offset = (uint64_t)place, .data = (uint64_t)done};
        note(record, "", "", bytes);
    }
    pthread_mutex_unlock(&order);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return written(fd, bytes, length, -1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return written(fd, bytes, length, offset); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t offset) { return written(fd, bytes, length, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(writev);
    if (!inode_of(fd)) return real(fd, parts, count);
    // A caller of writev must take a short count; one part at a time is enough.
    for (int at = 0; at < count; at++)
        if (parts[at].iov_len) return written(fd, parts[at].iov_base, parts[at].iov_len, -1);
    return 0;
}

// Whether a read touches the page that the disk does not give back. Reads change nothing, so that they may go on side by side. sled
// reads without mappings, and nobody reads in vectors.
static int unreadable(int fd, size_t length, off_t offset) {
    uint64_t inode = inode_of(fd);
    if (!inode) return 0;
    atomic_fetch_add(&control->counted[READ], 1);
    if (atomic_load(&control->class) != READ + 1 || atomic_load(&control->inode) != inode) return 0;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR);
    off_t page = (off_t)atomic_load(&control->page) * PAGE;
    if (offset >= page + PAGE || offset + (off_t)length <= page) return 0;
    atomic_fetch_add(&control->failed, 1);
    errno = (int)atomic_load(&control->error);
    return 1;
}

ssize_t read(int fd, void *bytes, size_t length) {
    REAL(read);
    return unreadable(fd, length, -1) ? -1 : real(fd, bytes, length);
}

ssize_t pread(int fd, void *bytes, size_t length, off_t offset) {
    REAL(pread);
    return unreadable(fd, length, offset) ? -1 : real(fd, bytes, length, offset);
}

ssize_t pread64(int fd, void *bytes, size_t length, off64_t offset) {
    REAL(pread64);
    return unreadable(fd, length, offset) ? -1 : real(fd, bytes, length, offset);
}

static int synced(int fd, int what, int (*real)(int)) {
    uint64_t inode = inode_of(fd);
    if (!inode) return real(fd);
    if (fails(SYNC) == 1) return -1;
    pthread_mutex_lock(&order);
    uint64_t before = number;
    pthread_mutex_unlock(&order);
    int done = real(fd);
    if (!done) {
        pthread_mutex_lock(&order);
        // What comes in while the sync runs may or may not be taken along: it is not.
        struct record record = {.what = (uint64_t)what, .inode = inode, .offset = before};
        note(record, "", "", "");
        pthread_mutex_unlock(&order);
    }
    return done;
}

int fsync(int fd) {
    REAL(fsync);
    return synced(fd, SYNCED, real);
}

int fdatasync(int fd) {
    REAL(fdatasync);
    return synced(fd, DATA_SYNCED, real);
}

int sync_file_range(int fd, off64_t offset, off64_t length, unsigned flags) {
    REAL(sync_file_range);
    if (inode_of(fd) && fails(RANGE) == 1) return -1;
    return real(fd, offset, length, flags);
}

static int truncated(int fd, off_t length) {
    __typeof__(&ftruncate64) real = (__typeof__(&ftruncate64))dlsym(RTLD_NEXT, "ftruncate64");
    uint64_t inode = inode_of(fd);
    if (!inode) return real(fd, length);
    if (fails(TRUNCATE) == 1) return -1;
    pthread_mutex_lock(&order);
    int done = real(fd, length);
    if (!done) note((struct record){.what = TRUNCATED, .inode = inode, .offset = (uint64_t)length}, "", "", "");
    pthread_mutex_unlock(&order);
    return done;
}

int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

static uint64_t inode_at(int at, const char *path) {
    struct stat stat;
    int before = errno;
    uint64_t inode = fstatat(at, path, &stat, AT_SYMLINK_NOFOLLOW) ? 0 : stat.st_ino;
    errno = before;
    return inode;
}

// Renames within one folder; `exchange` lets two names change places.
static int renamed(const char *from, const char *to, int exchange, int (*real)(const char *, const char *)) {
    struct place one = place_of(AT_FDCWD, from), other = place_of(AT_FDCWD, to);
    if (!one.folder && !other.folder) return real(from, to);
    if (one.folder != other.folder) unknown("a rename between folders:", from);
    if (fails(RENAME) == 1) return -1;
    pthread_mutex_lock(&order);
    struct record record = {
        .what = exchange ? EXCHANGED : RENAMED,
        .folder = one.folder,
        .inode = inode_at(AT_FDCWD, from),
        .name = strlen(one.name),
        .other = strlen(other.name),
    };
    int done = real(from, to);
    if (!done) note(record, one.name, other.name, "");
    pthread_mutex_unlock(&order);
    return done;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    return renamed(from, to, 0, real);
}

static int removed(int at, const char *path, int flags) {
    __typeof__(&unlinkat) real = (__typeof__(&unlinkat))dlsym(RTLD_NEXT, "unlinkat");
    struct place place = place_of(at, path);
    if (!place.folder) return real(at, path, flags);
    if (fails(UNLINK) == 1) return -1;
    pthread_mutex_lock(&order);
    struct record record = {.what = REMOVED, .folder = place.folder, .name = strlen(place.name)};
    record.inode = inode_at(at, path);
    int done = real(at, path, flags);
    if (!done) note(record, place.name, "", "");
    pthread_mutex_unlock(&order);
    return done;
}

int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int at, const char *path, int flags) { return removed(at, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    struct place place = place_of(AT_FDCWD, path);
    if (!place.folder) return real(path, mode);
    // Most are there already: only those that are made are counted.
    if (!inode_at(AT_FDCWD, path) && fails(MKDIR) == 1) return -1;
    pthread_mutex_lock(&order);
    int done = real(path, mode);
    if (!done) {
        struct record record = {.what = FOLDER, .mode = mode, .folder = place.folder, .name = strlen(place.name)};
        record.inode = inode_at(AT_FDCWD, path);
        see(record.inode);
        note(record, place.name, "", "");
    }
    pthread_mutex_unlock(&order);
    return done;
}

// renameat2 has no caller through libc here: it comes from Rust as a bare system call. A filter of the kernel hands those to a signal
// handler; the handler's own call is told from them by a sixth argument, which the call does not have.
#define OURS 0x41434344u

static int exchanged(const char *from, const char *to) {
    return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 2u, OURS);
}

static void trapped(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)info;
    int before = errno;
#if defined(__x86_64__)
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const char *from = (const char *)registers[REG_RSI], *to = (const char *)registers[REG_R10];
    uint64_t flags = (uint64_t)registers[REG_R8];
    if (flags != 2) unknown("renameat2", from);
    int done = renamed(from, to, 1, exchanged);
    registers[REG_RAX] = done ? -errno : 0;
#elif defined(__aarch64__)
    unsigned long long *registers = ((ucontext_t *)context)->uc_mcontext.regs;
    const char *from = (const char *)registers[1], *to = (const char *)registers[3];
    if (registers[4] != 2) unknown("renameat2", from);
    int done = renamed(from, to, 1, exchanged);
    registers[0] = done ? (unsigned long long)-errno : 0;
#endif
    errno = before;
}

static void trap_exchanges(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[5])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OURS, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct sigaction action = {.sa_sigaction = trapped, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSYS, &action, NULL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        unknown("no filter for renameat2", strerror(errno));
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("ACCORD_SHIM_DIR"), *numbers = getenv("ACCORD_SHIM_CONTROL");
    const char *changes = getenv("ACCORD_SHIM_JOURNAL");
    struct stat stat;
    if (!folder || lstat(folder, &stat)) unknown("ACCORD_SHIM_DIR", folder ? folder : "");
    device = stat.st_dev;
    if (numbers) {
        int fd = through_openat(AT_FDCWD, numbers, O_RDWR | O_CLOEXEC, 0);
        void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (fd < 0 || mapped == MAP_FAILED) unknown("ACCORD_SHIM_CONTROL", numbers);
        control = mapped;
        close(fd);
    }
    if (changes) {
        journal = through_openat(AT_FDCWD, changes, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (journal < 0) unknown("ACCORD_SHIM_JOURNAL", changes);
    }
    // Whatever the node starts is not watched.
    unsetenv("LD_PRELOAD");
    trap_exchanges();
    see(stat.st_ino);
    snprintf(below, sizeof below, "%s", folder);
    below_length = strlen(below);
}
