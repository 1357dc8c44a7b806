/** What a {@link VirtioDriverError} is about, in one stable word. */
export type VirtioDriverErrorCode =
  /** An argument that no driver could mean: a queue of no power of two, a request that has no room in the queue. */
  | 'bad-argument'
  /** The device does not offer what the driver needs, or does not accept what the driver chose. */
  | 'unsupported'
  /** The driver has not booted, or was reset. */
  | 'state'
  /** The queue lies outside RAM. */
  | 'outside-ram'
  /** The device did not do what it was told to: a buffer never came back, a status bit never changed. */
  | 'stuck'
  /** The device set DEVICE_NEEDS_RESET. */
  | 'needs-reset'
  /** The device wrote to the used ring what no device may: a chain that it was never given. */
  | 'bad-device';

/** A guest's driver cannot do what it was asked to. The message says what, where, and the remedy. */
export class VirtioDriverError extends Error {
  override readonly name: string = 'VirtioDriverError';
  readonly code: VirtioDriverErrorCode;

  constructor(code: VirtioDriverErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
