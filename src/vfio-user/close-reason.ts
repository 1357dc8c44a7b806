/** Why a connection is over. */
export interface CloseReason {
  /**
   * - `closed-here`: this side ended it.
   * - `closed-by-peer`: the peer ended it, or vanished.
   * - `protocol-error`: the peer sent what no peer may send.
   * - `timeout`: the peer stopped answering, or reading.
   * - `failed`: the system did not go on carrying it.
   */
  readonly kind: 'closed-here' | 'closed-by-peer' | 'protocol-error' | 'timeout' | 'failed';
  /** One sentence for people. */
  readonly message: string;
  readonly error?: Error;
}

/** The connection ended before the answer came: whether the peer has carried out the request is not known. */
export class ConnectionLostError extends Error {
  readonly code = 'VIOMMU_CONNECTION_LOST';
  override readonly name = 'ConnectionLostError';
  readonly reason: CloseReason;

  constructor(connection: string, reason: CloseReason) {
    const here = `the connection to ${connection} was ended here: ${reason.message}`;
    super(
      reason.kind === 'closed-here' ? here : reason.message,
      reason.error === undefined ? {} : { cause: reason.error },
    );
    this.reason = reason;
  }
}
