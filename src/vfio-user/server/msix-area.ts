import type { DeviceInterrupts } from './interrupts.ts';
import type { HandledBar, MsixLayout } from './pci-device.ts';
import { inOrder } from './in-order.ts';

const ENTRY_BYTES = 16;
/** The vector control of an entry, whose bit 0 is a mask and set at power-on. Source: PCI Local Bus 3.0, 6.8.2.9. */
const VECTOR_CONTROL = 12;

type Access = 'read' | 'write';

/**
 * The BAR that holds the MSI-X table and its pending bits, with both taken out of the device's hands. The table only
 * keeps what is written: a client that is a VMM has a table of its own, which its guest writes, and masks by
 * DEVICE_SET_IRQS. The pending bits are the server's, for VMMs read them here.
 */
export class MsixArea {
  readonly #bar: HandledBar;
  readonly #layout: MsixLayout;
  readonly #interrupts: DeviceInterrupts;
  readonly #table: Uint8Array;

  constructor(bar: HandledBar, layout: MsixLayout, interrupts: DeviceInterrupts) {
    this.#bar = bar;
    this.#layout = layout;
    this.#interrupts = interrupts;
    this.#table = new Uint8Array(layout.vectors * ENTRY_BYTES);
    this.reset();
  }

  /** The table as after power-on: zeros, every vector masked. */
  reset(): void {
    this.#table.fill(0);
    for (let at = VECTOR_CONTROL; at < this.#table.length; at += ENTRY_BYTES) this.#table[at] = 1;
  }

  /** As {@link HandledBar.read}, for any part of the BAR. */
  read(offset: number, data: Uint8Array): void | Promise<void> {
    return this.#access('read', offset, data);
  }

  /** As {@link HandledBar.write}, for any part of the BAR. */
  write(offset: number, data: Uint8Array): void | Promise<void> {
    return this.#access('write', offset, data);
  }

  #access(access: Access, offset: number, data: Uint8Array): void | Promise<void> {
    const table = { start: this.#layout.tableOffset, end: this.#layout.tableOffset + this.#table.length };
    const pbaBytes = Math.ceil(this.#layout.vectors / 64) * 8;
    const pba = { start: this.#layout.pbaOffset, end: this.#layout.pbaOffset + pbaBytes };
    const end = offset + data.length;
    const edges = [table.start, table.end, pba.start, pba.end].filter((edge) => edge > offset && edge < end);
    const steps: (() => void | Promise<void>)[] = [];
    let from = offset;
    for (const to of [...edges.sort((a, b) => a - b), end]) {
      const start = from;
      const piece = data.subarray(start - offset, to - offset);
      if (start >= table.start && start < table.end) {
        steps.push(() => this.#accessTable(access, start - table.start, piece));
      } else if (start >= pba.start && start < pba.end) {
        steps.push(() => this.#accessPending(access, start - pba.start, piece));
      } else {
        steps.push(() => this.#bar[access](start, piece));
      }
      from = to;
    }
    return inOrder(steps);
  }

  #accessTable(access: Access, offset: number, data: Uint8Array): void {
    if (access === 'write') this.#table.set(data, offset);
    else data.set(this.#table.subarray(offset, offset + data.length));
  }

  /** Writes have no effect. */
  #accessPending(access: Access, offset: number, data: Uint8Array): void {
    if (access === 'write') return;
    for (let i = 0; i < data.length; i++) {
      let byte = 0;
      for (let bit = 0; bit < 8; bit++) {
        if (this.#interrupts.isPending((offset + i) * 8 + bit)) byte |= 1 << bit;
      }
      data[i] = byte;
    }
  }
}
