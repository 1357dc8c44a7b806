/** What a {@link GuestDriverError} is about, in one stable word. */
export type GuestDriverErrorCode =
  /** An argument that no guest could mean: misaligned, beyond the domain's width, not offered by the unit. */
  | 'bad-argument'
  /** Something is mapped where a mapping was to be made. */
  | 'mapped'
  /** Nothing, or not all, is mapped where mappings were to be changed. */
  | 'not-mapped'
  /** The range cuts through a leaf; a guest's driver never splits one. */
  | 'bisects'
  /** A requester has tables already where none were expected, or none where some were. */
  | 'attachment'
  /** A table or queue of the guest lies outside RAM. */
  | 'outside-ram'
  /** The unit is not in the state that the call needs: not set up, or set up already. */
  | 'state'
  /** The unit, or the guest's own set-up, asks for something that this driver does not do. */
  | 'unsupported'
  /** Every domain identifier of the unit is taken. */
  | 'no-domain-id'
  /** The unit did not do what it was told to: a status bit or the status of a wait never came. */
  | 'stuck'
  /** The unit stopped at an entry of its queue that it does not accept. */
  | 'queue-error'
  /** The device says that only a reset leads back (DEVICE_NEEDS_RESET). */
  | 'needs-reset'
  /** The device wrote to a queue what no device may, such as a buffer that it was never given. */
  | 'bad-device';

/** A guest's driver cannot do what it was asked to. The message says what, where, and the remedy. */
export class GuestDriverError extends Error {
  override readonly name: string = 'GuestDriverError';
  readonly code: GuestDriverErrorCode;

  constructor(code: GuestDriverErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
