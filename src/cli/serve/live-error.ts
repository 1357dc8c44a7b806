/** A socket could not be made; the message says what, where, and the remedy. */
export class LiveError extends Error {
  override readonly name = 'LiveError';
  readonly code = 'VIOMMU_LIVE';
}

/** What to do about an errno of a path. */
const REMEDIES: Readonly<Record<string, string>> = {
  EACCES: 'you may not create files there: choose another folder, or change its permissions',
  EPERM: 'you may not create files there: choose another folder, or change its permissions',
  ENOENT: 'the folder does not exist: create it, or choose another path',
  ENOTDIR: 'a part of the path is no folder: choose another path',
  EROFS: 'the file system is read-only: choose another folder',
  ENOSPC: 'the file system is full: choose another folder, or make room',
  EINVAL: 'the file system takes no sockets: choose a local folder, as /tmp',
  EMFILE: 'too many files are open: raise the limit (ulimit -n)',
};

/** Why a socket cannot be listened on, as an error for people; what is no error of the system is thrown as it is. */
export function liveError(error: unknown): LiveError {
  if (!(error instanceof Error && 'code' in error && typeof error.code === 'string')) throw error;
  const errno = 'errno' in error && typeof error.errno === 'string' ? error.errno : undefined;
  const remedy = errno === undefined ? undefined : REMEDIES[errno];
  return new LiveError(remedy === undefined ? error.message : `${error.message}; ${remedy}`, {
    cause: error,
  });
}
