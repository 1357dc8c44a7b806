import type { VirtioDevice } from '../../models/virtio/index.ts';
import type { QueueAreas, VirtioTransport } from './transport.ts';

/** A model's front as a transport: what a driver and a device in one process need of each other. */
export class VirtioDeviceTransport implements VirtioTransport {
  readonly #device: VirtioDevice;
  readonly #settled: () => void | Promise<void>;

  /** `settled` returns, or resolves, when the device has done everything that it was told to. */
  constructor(device: VirtioDevice, settled: () => void | Promise<void>) {
    this.#device = device;
    this.#settled = settled;
  }

  features(): bigint {
    return this.#device.features;
  }

  acceptFeatures(features: bigint): void {
    this.#device.chooseFeatures(features);
  }

  readStatus(): number {
    return this.#device.status;
  }

  writeStatus(status: number): void {
    this.#device.writeStatus(status);
  }

  maxQueueSize(index: number): number {
    return index < this.#device.queueCount ? this.#device.queueSizeMax : 0;
  }

  setUpQueue(index: number, { size, desc, driver, device }: QueueAreas): void {
    this.#device.enableQueue(index, { size, descriptors: desc, driver, device });
  }

  notify(index: number): void {
    this.#device.notify(index);
  }

  readConfig(offset: number, bytes: 1 | 2 | 4 | 8): bigint {
    const data = new Uint8Array(8);
    this.#device.readConfig(offset, data.subarray(0, bytes));
    return new DataView(data.buffer).getBigUint64(0, true);
  }

  writeConfig(offset: number, value: bigint, bytes: 1 | 2 | 4 | 8): void {
    const data = new DataView(new ArrayBuffer(8));
    data.setBigUint64(0, value, true);
    this.#device.writeConfig(offset, new Uint8Array(data.buffer, 0, bytes));
  }

  settled(): void | Promise<void> {
    return this.#settled();
  }
}
