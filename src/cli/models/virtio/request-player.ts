/** A guest's driver that sends the requests of a capture again. @module */
import {
  type Capture,
  type CaptureRequest,
  GuestFileError,
  PageAllocator,
  PageAllocatorError,
  VirtioDeviceTransport,
  GuestDriverError,
  VirtioIommuGuestDriver,
} from '../../../guests/index.ts';
import { spec, type VirtioIommu } from '../../../models/virtio/index.ts';

/** Sends requests through queues in the guest's memory, one after the other as Linux does, and keeps what was refused. */
export class RequestPlayer {
  readonly #file: string;
  readonly #driver: VirtioIommuGuestDriver;
  #refused = 0;
  #first = '';

  private constructor(file: string, driver: VirtioIommuGuestDriver) {
    this.#file = file;
    this.#driver = driver;
  }

  /**
   * Sets the device up. Queues and buffers may lie anywhere: no device is there that would write into what is mapped.
   *
   * @param file path of capture.json, for errors
   * @throws GuestFileError when the capture's RAM has no room for them
   */
  static async boot(capture: Capture, file: string, iommu: VirtioIommu): Promise<RequestPlayer> {
    const driver = new VirtioIommuGuestDriver({
      memory: iommu.memory,
      transport: new VirtioDeviceTransport(iommu.device, () => iommu.settled()),
      allocator: new PageAllocator(capture.ram),
    });
    const player = new RequestPlayer(file, driver);
    await player.#explained('the set-up of the device', () => driver.boot());
    return player;
  }

  /** What was refused, for people; none when all requests were granted. */
  get notes(): readonly string[] {
    if (this.#refused === 0) return [];
    const others = this.#refused === 1 ? '' : `, and ${this.#refused - 1} more after it`;
    return [`the IOMMU refused ${this.#first}${others}`];
  }

  /** Sends `requests`; `sent` is called with the number of those done now and then. */
  async play(requests: readonly CaptureRequest[], sent: (done: number) => void = () => {}): Promise<void> {
    let done = 0;
    for (const line of requests) {
      if (line.op === 'plug') continue;
      const place = `request ${done + 1} of ${requests.length}`;
      // oxlint-disable-next-line no-await-in-loop -- a request may need what the one before it made
      const { status } = await this.#explained(place, () => this.#driver.request(line.request));
      if (status !== spec.S_OK && this.#refused++ === 0) {
        this.#first = `${place} (${OPERATIONS[line.request.type]}: ${statusText(status)})`;
      }
      if (done++ % 1024 === 0) sent(done);
    }
  }

  /** What a driver cannot do with a capture is something wrong with the capture. */
  async #explained<T>(place: string, step: () => Promise<T>): Promise<T> {
    try {
      return await step();
    } catch (error) {
      if (!(error instanceof GuestDriverError || error instanceof PageAllocatorError)) throw error;
      throw new GuestFileError({
        code: 'capture',
        file: this.#file,
        place,
        problem: `the recorded guest cannot have done this: ${error.message}`,
        remedy: 'record the capture again',
        cause: error,
      });
    }
  }
}

const OPERATIONS: Readonly<Record<spec.Request['type'], string>> = {
  [spec.T_ATTACH]: 'ATTACH',
  [spec.T_DETACH]: 'DETACH',
  [spec.T_MAP]: 'MAP',
  [spec.T_UNMAP]: 'UNMAP',
  [spec.T_PROBE]: 'PROBE',
};

const STATUSES: Readonly<Record<number, string>> = {
  [spec.S_IOERR]: 'S_IOERR',
  [spec.S_UNSUPP]: 'S_UNSUPP',
  [spec.S_DEVERR]: 'S_DEVERR',
  [spec.S_INVAL]: 'S_INVAL',
  [spec.S_RANGE]: 'S_RANGE',
  [spec.S_NOENT]: 'S_NOENT',
  [spec.S_FAULT]: 'S_FAULT',
  [spec.S_NOMEM]: 'S_NOMEM',
};

/** The specification's name of a status; a device need not write one. */
function statusText(status: number | undefined): string {
  return status === undefined ? 'no status' : (STATUSES[status] ?? `status ${status}`);
}
