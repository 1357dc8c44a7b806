import { getSystemErrorName } from 'node:util';

/** What went wrong with the system, in one stable word. */
export type SystemErrorCode =
  /** The machine is not Linux, or the optional package koffi is not there, and the operation needs both. */
  | 'VIOMMU_NO_KOFFI'
  /** A path that no socket file can have, or that is taken by something else than a socket. */
  | 'VIOMMU_SOCKET_PATH'
  /** Another process listens on the path already. */
  | 'VIOMMU_SOCKET_IN_USE'
  /** Nobody listens on the path. */
  | 'VIOMMU_NO_LISTENER'
  /** A peer sent more descriptors than its connection takes, or this process has no room for them. */
  | 'VIOMMU_DESCRIPTORS_LOST'
  /** A system call failed. */
  | 'VIOMMU_SYSTEM';

/** The system refused something; the message says what, where and what would help. */
export class SystemError extends Error {
  override readonly name: string = 'SystemError';
  readonly code: SystemErrorCode;
  /** The errno's name, such as `EACCES`, where a system call failed. */
  readonly errno: string | undefined;

  constructor(code: SystemErrorCode, message: string, errno?: string) {
    super(message);
    this.code = code;
    this.errno = errno;
  }
}

/** A failed system call: `what` is a sentence part such as `mapping guest.ram`. */
export function callFailed(what: string, call: string, errno: number): SystemError {
  const name = errnoName(errno);
  return new SystemError('VIOMMU_SYSTEM', `${what}: ${call} failed with ${name}`, name);
}

/** `EACCES` for 13. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}
