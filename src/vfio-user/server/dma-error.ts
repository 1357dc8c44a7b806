import { formatAddress } from '../../memory/index.ts';
import { errnoName } from '../wire/index.ts';
import type { DmaRefusal } from './dma-refusal.ts';

/** A device's access to guest memory that was not done, or not all of it. */
export class DmaError extends Error {
  readonly code = 'VIOMMU_DMA';
  override readonly name = 'DmaError';
  /** The byte address at which it stopped. */
  readonly address: bigint;
  /** The errno's name: EFAULT where nothing is mapped, EACCES where the mapping does not allow it, EBUSY when now is not the time. */
  readonly errno: string;
  /** Bytes done before it stopped. */
  readonly completed: number;

  constructor(what: string, address: bigint, refusal: DmaRefusal, completed = 0) {
    const errno = errnoName(refusal.errno);
    super(`${what} at ${formatAddress(address)}: ${errno}: ${refusal.reason}`);
    this.address = address;
    this.errno = errno;
    this.completed = completed;
  }
}
