import {
  type BigIntStats,
  closeSync,
  fstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  readSync,
  statfsSync,
} from 'node:fs';
import type { SystemRefusal } from '../vfio-user/index.ts';
import { F_GET_SEALS, F_SEAL_SHRINK, type Libc } from './libc.ts';

/** What a descriptor that a peer sent is. */
export interface FileKind {
  /** The same for every descriptor of the same file. */
  readonly key: string;
  /** Bytes in the file now. */
  readonly size: bigint;
  /** Whether the file can never become shorter: a memfd sealed with F_SEAL_SHRINK. */
  readonly cannotShrink: boolean;
}

/** File systems behind which a server may be that never answers, and with it this process. */
const SERVED: RegExp = /^(fuse|fuse\..+|fuseblk|9p|nfs|nfs4|cifs|smb3|ceph|afs|autofs|virtiofs)$/;
const HUGETLBFS_MAGIC = 0x958458f6n;

/**
 * Looks at the file behind `fd` without waking anybody who could keep this process waiting: only memory and files of
 * file systems that the kernel itself serves are looked at further.
 */
export function fileKind(libc: Libc, fd: number): FileKind | SystemRefusal {
  const seals = libc.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0) {
    const refusal = refuseUnlessLocal(fd);
    if (refusal !== undefined) return refusal;
  }
  let stats: BigIntStats;
  try {
    stats = fstatSync(fd, { bigint: true });
  } catch {
    return refuse('EBADF', 'the descriptor cannot be looked at: send one that is open');
  }
  if (!stats.isFile()) return notAFile();
  return {
    key: `${stats.dev}:${stats.ino}`,
    size: stats.size,
    cannotShrink: seals >= 0 && (seals & F_SEAL_SHRINK) !== 0,
  };
}

/** Whether the file behind `fd` is one that {@link fileKind} would look at further. */
export function isLocal(libc: Libc, fd: number): boolean {
  return libc.fcntl(fd, F_GET_SEALS, 0) >= 0 || refuseUnlessLocal(fd) === undefined;
}

/** Whether a file, which {@link fileKind} has let pass, is in huge pages, which write(2) cannot write. */
export function inHugePages(fd: number): boolean {
  try {
    return statfsSync(`/proc/self/fd/${fd}`, { bigint: true }).type === HUGETLBFS_MAGIC;
  } catch {
    return false;
  }
}

/** A refusal, as a peer is answered and a person is told. */
export function refuse(errno: string, reason: string): SystemRefusal {
  return { errno, reason };
}

function notAFile(): SystemRefusal {
  return refuse('EINVAL', 'the descriptor is no regular file: share memory as a memfd or a file');
}

function refuseUnlessLocal(fd: number): SystemRefusal | undefined {
  try {
    const mount = /^mnt_id:\s*(\d+)/m.exec(readInfo(fd))?.[1];
    const type = mount === undefined ? undefined : mountTypes().get(mount);
    if (type !== undefined && !SERVED.test(type)) return undefined;
    if (!readlinkSync(`/proc/self/fd/${fd}`).startsWith('/')) return notAFile();
    return refuse(
      'EACCES',
      type === undefined
        ? 'the file is on a file system that is not mounted here: share memory as a memfd'
        : `the file is on ${type}, where another process may never answer: share memory as a memfd or a local file`,
    );
  } catch {
    return refuse('EACCES', 'it cannot be told on what file system the file is: share memory as a memfd');
  }
}

/** What is needed stands at the beginning. */
const info = Buffer.alloc(512);

/** What the kernel says of a descriptor. In three calls, 7 µs: readFileSync takes 18, and this is done for each mapping in a file. */
function readInfo(fd: number): string {
  const file = openSync(`/proc/self/fdinfo/${fd}`, 'r');
  try {
    return info.toString('latin1', 0, readSync(file, info, 0, info.length, null));
  } finally {
    closeSync(file);
  }
}

/** Mounts seldom change, and reading their list costs more than all the rest of a look at a file. */
const MOUNTS_MILLISECONDS = 1000;

let mounts: Map<string, string> = new Map();
let mountsReadAt = -Infinity;

/** File system types by mount id, not older than a second. */
function mountTypes(): Map<string, string> {
  const now = performance.now();
  if (now - mountsReadAt < MOUNTS_MILLISECONDS) return mounts;
  mounts = new Map();
  mountsReadAt = now;
  for (const line of readFileSync('/proc/self/mountinfo', 'latin1').split('\n')) {
    const id = line.split(' ', 1)[0];
    const type = / - (\S+)/.exec(line)?.[1];
    if (id !== undefined && type !== undefined) mounts.set(id, type);
  }
  return mounts;
}
