/** The server answered a request with an errno: it was not done, and the connection goes on. */
export class ServerRefusedError extends Error {
  readonly code = 'VIOMMU_SERVER_REFUSED';
  override readonly name = 'ServerRefusedError';
  /** The command's name, such as `DEVICE_GET_REGION_INFO`. */
  readonly command: string;
  /** The errno's name, such as `EINVAL`. */
  readonly errno: string;

  /** `what` completes "refused ...", such as `DEVICE_RESET`. */
  constructor(server: string, command: string, errno: string, what: string) {
    super(`${server} refused ${what} with ${errno}`);
    this.command = command;
    this.errno = errno;
  }
}

/** The server said what no client can work with; the connection was ended for it. */
export class UnusableServerError extends Error {
  readonly code = 'VIOMMU_UNUSABLE_SERVER';
  override readonly name = 'UnusableServerError';

  /** `problem` is one sentence without its subject and full stop: what is wrong, and what would help. */
  constructor(server: string, problem: string) {
    super(`${server} ${problem}`);
  }
}
