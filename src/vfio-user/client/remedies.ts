import { Errno } from '../wire/index.ts';

const REMEDIES: ReadonlyMap<number, string> = new Map([
  [Errno.EEXIST, 'the server holds a mapping there already: end the connection and plug the device anew'],
  [
    Errno.ENOENT,
    'the server holds no mapping of exactly this range: end the connection and plug the device anew',
  ],
  [
    Errno.EINVAL,
    'the server holds a mapping there already, has no room for another, or cannot use the range or the memory: see ' +
      'what it logs, and share guest RAM by a file that it can map',
  ],
  [Errno.ENOSPC, 'the server has no room for it: have the guest map less, or larger pages'],
  [Errno.ENOMEM, 'the server has no memory for it: have the guest map less, or larger pages'],
  [Errno.EACCES, 'the server may not use the memory as asked: share guest RAM by a file that it may write'],
  [Errno.EPERM, 'the server may not use the memory as asked: share guest RAM by a file that it may write'],
  [Errno.EMFILE, 'the server has too many files open: raise its limit of open files'],
  [Errno.ENFILE, 'the system has too many files open: raise its limit of open files'],
  [Errno.EOPNOTSUPP, 'the server does no DMA in this way: share guest RAM by a file'],
]);

/** What a refused map or unmap may mean, and what would help, as one sentence; the same text for the same errno. */
export function remedyFor(errno: number): string {
  return REMEDIES.get(errno) ?? 'the server gives no other reason: see what it logs';
}
