import { formatAddress, type Observer } from '../memory/index.ts';
import { type DeviceMemory, Errno, errnoNumber } from '../vfio-user/index.ts';
import { EDU_BUFFER_BYTES, EDU_BUFFER_START, EduDma, EduRegister } from './edu-registers.ts';

/** What the engine asks of its device. */
export interface EduDmaOptions {
  readonly observer: Observer | undefined;
  /** A transfer that is to raise an interrupt has ended. */
  readonly finished: () => void;
}

/** The registers from 0x80 on, the buffer, and the transfers between it and guest memory. */
export class EduDmaEngine {
  readonly #buffer: Uint8Array = new Uint8Array(EDU_BUFFER_BYTES);
  readonly #options: EduDmaOptions;
  #memory: Pick<DeviceMemory, 'read' | 'write'> | undefined;
  #source = 0n;
  #destination = 0n;
  #count = 0n;
  #command = 0n;
  #error = 0n;
  /** Counts resets: what a transfer from before one brings is dropped. */
  #resets = 0;

  constructor(options: EduDmaOptions) {
    this.#options = options;
  }

  /** Called once, before anything is transferred. */
  start(memory: Pick<DeviceMemory, 'read' | 'write'>): void {
    this.#memory = memory;
  }

  /** A transfer that runs is forgotten; memory that it wrote already stays written. */
  reset(): void {
    this.#resets++;
    this.#source = 0n;
    this.#destination = 0n;
    this.#count = 0n;
    this.#command = 0n;
    this.#error = 0n;
    this.#buffer.fill(0);
  }

  /** The 8-byte register at `offset`, or undefined where there is none. */
  register(offset: number): bigint | undefined {
    switch (offset) {
      case EduRegister.DmaSource:
        return this.#source;
      case EduRegister.DmaDestination:
        return this.#destination;
      case EduRegister.DmaCount:
        return this.#count;
      case EduRegister.DmaCommand:
        return this.#command;
      case EduRegister.DmaError:
        return this.#error;
      default:
        return undefined;
    }
  }

  /** Takes all 64 bits of `value`. Nothing is taken while a transfer runs. */
  setRegister(offset: number, value: bigint): void {
    if (this.#running) return;
    switch (offset) {
      case EduRegister.DmaSource:
        this.#source = value;
        break;
      case EduRegister.DmaDestination:
        this.#destination = value;
        break;
      case EduRegister.DmaCount:
        this.#count = value;
        break;
      case EduRegister.DmaCommand:
        if ((value & BigInt(EduDma.Start)) === 0n) break;
        this.#command = value;
        void this.#run();
        break;
      default:
    }
  }

  get #running(): boolean {
    return (this.#command & BigInt(EduDma.Start)) !== 0n;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    const resets = this.#resets;
    const transfer: Transfer = {
      toMemory: (this.#command & BigInt(EduDma.ToMemory)) !== 0n,
      source: this.#source,
      destination: this.#destination,
      count: this.#count,
    };
    // A client cannot serve DMA_READ or DMA_WRITE before its own register write is answered.
    await Promise.resolve();
    if (resets !== this.#resets) return;
    let error = 0n;
    try {
      await this.#transfer(transfer, resets);
    } catch (failure) {
      error = errnoOf(failure);
      if (resets === this.#resets) this.#report(transfer, failure);
    }
    if (resets !== this.#resets) return;
    this.#error = error;
    this.#command &= ~BigInt(EduDma.Start);
    if ((this.#command & BigInt(EduDma.InterruptWhenDone)) !== 0n) this.#options.finished();
  }

  async #transfer({ toMemory, source, destination, count }: Transfer, resets: number): Promise<void> {
    const place = (toMemory ? source : destination) - EDU_BUFFER_START;
    const end = place + count;
    if (place < 0n || end > BigInt(EDU_BUFFER_BYTES)) {
      throw new OutsideBufferError(place + EDU_BUFFER_START, count);
    }
    // Never the buffer itself: a transfer that a reset overtook must find, and leave, nothing of it.
    if (toMemory) {
      await this.#memory?.write(destination, this.#buffer.slice(Number(place), Number(end)));
    } else {
      const data = new Uint8Array(Number(count));
      await this.#memory?.read(source, data);
      if (resets === this.#resets) this.#buffer.set(data, Number(place));
    }
  }

  #report({ toMemory, source, destination, count }: Transfer, failure: unknown): void {
    const address = toMemory ? destination : source;
    const what = toMemory ? 'from the buffer to' : 'to the buffer from';
    const why = failure instanceof Error ? failure.message : String(failure);
    this.#options.observer?.observe({
      kind: 'edu-dma-failed',
      source: 'edu',
      message: `DMA of ${count} bytes ${what} ${formatAddress(address)} failed: ${why}`,
      details: { address, count, errno: errnoOf(failure) },
    });
  }
}

/** The registers as they were when it was started. */
interface Transfer {
  readonly toMemory: boolean;
  readonly source: bigint;
  readonly destination: bigint;
  readonly count: bigint;
}

/** The driver asked for bytes that the buffer does not have. */
class OutsideBufferError extends Error {
  override readonly name = 'OutsideBufferError';
  readonly code = 'VIOMMU_EDU_BUFFER';
  readonly errno = 'EINVAL';

  constructor(place: bigint, count: bigint) {
    super(
      `${count} bytes at ${formatAddress(place)} are not all in the buffer, ${formatAddress(EDU_BUFFER_START)} to ` +
        `${formatAddress(EDU_BUFFER_START + BigInt(EDU_BUFFER_BYTES) - 1n)}; transfer less, or elsewhere`,
    );
  }
}

/** The number of the errno that a failure carries by name. */
function errnoOf(failure: unknown): bigint {
  const name = failure instanceof Error && 'errno' in failure ? failure.errno : undefined;
  return BigInt((typeof name === 'string' ? errnoNumber(name) : undefined) ?? Errno.EIO);
}
