/* SPDX-License-Identifier: BSD-2-Clause */
/* How many processors this process may use, which is often fewer than the machine has. */
#ifndef LEEWAY_BASE_PROCESSORS_H
#define LEEWAY_BASE_PROCESSORS_H

#include <stdint.h>

/* At least 1: those of the affinity mask (sched_setaffinity(2), cpusets), and no more than the
   quotas of the control groups that it is in allow, rounded up (cpu.max of cgroups(7) version 2,
   cpu.cfs_quota_us of version 1). */
int64_t processors_available(void);

/* The part about control groups: `groups` is a file like /proc/self/cgroup, `mounts` a directory
   like /sys/fs/cgroup. 0: no quota, or none that can be read. */
int64_t processors_quota(const char *groups, const char *mounts);

#endif
