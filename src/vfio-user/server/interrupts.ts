import { type Descriptor, releaseAll } from '../descriptor.ts';
import type { Eventfds } from '../platform.ts';
import { Errno, type IrqInfo, IrqIndex, PCI_IRQS, type SetIrqs } from '../wire/index.ts';
import { IrqType } from './irq-type.ts';
import type { Interrupts, PciDevice } from './pci-device.ts';

/** What interrupts need around them. */
export interface InterruptWires {
  /** Without it nothing can be wired. */
  readonly eventfds: Eventfds | undefined;
  /** Whether the command register keeps INTA quiet. */
  isIntxDisabled(): boolean;
}

/**
 * All interrupts of a device: what the client wires, masks and triggers by DEVICE_SET_IRQS, and what the device fires.
 *
 * Masks belong to the client. INTA masks itself when it fires (`automasked`), as in Linux's vfio-pci: the client unmasks
 * it at the guest's end of interrupt, and if the line is still up it fires again. A reset of the device leaves eventfds
 * and masks alone, as VFIO_DEVICE_RESET does; only what is pending or asserted goes.
 */
export class DeviceInterrupts implements Interrupts {
  readonly #types: readonly IrqType[];
  readonly #wires: InterruptWires;
  #isAsserted = false;

  /** `device` has been checked. */
  constructor(device: PciDevice, wires: InterruptWires) {
    const counts = new Array<number>(PCI_IRQS).fill(0);
    counts[IrqIndex.INTX] = device.intx === true ? 1 : 0;
    counts[IrqIndex.MSI] = device.msi?.vectors ?? 0;
    counts[IrqIndex.MSIX] = device.msix?.vectors ?? 0;
    counts[IrqIndex.ERR] = 1;
    counts[IrqIndex.REQ] = 1;
    this.#types = counts.map((count) => new IrqType(count));
    this.#wires = wires;
  }

  get mode(): Interrupts['mode'] {
    if (this.#type(IrqIndex.MSIX).armed > 0) return 'msix';
    if (this.#type(IrqIndex.MSI).armed > 0) return 'msi';
    return this.#type(IrqIndex.INTX).armed > 0 ? 'intx' : 'none';
  }

  /** Whether INTA is asserted. */
  get isIntxAsserted(): boolean {
    return this.#isAsserted;
  }

  trigger(vector = 0): boolean {
    const { mode } = this;
    if (mode === 'msix') return this.#message(this.#type(IrqIndex.MSIX), vector);
    if (mode === 'msi') return this.#message(this.#type(IrqIndex.MSI), vector);
    if (this.#type(IrqIndex.INTX).count === 0) return false;
    this.#isAsserted = true;
    return this.fireIntx();
  }

  lower(): void {
    this.#isAsserted = false;
  }

  error(): boolean {
    return this.#signal(this.#type(IrqIndex.ERR), 0);
  }

  requestRemoval(): boolean {
    return this.#signal(this.#type(IrqIndex.REQ), 0);
  }

  /** Signals INTA if it is asserted and nothing keeps it quiet; whether it was signalled. */
  fireIntx(): boolean {
    const type = this.#type(IrqIndex.INTX);
    if (!this.#isAsserted || type.masked[0] !== 0 || this.#wires.isIntxDisabled()) return false;
    if (!this.#signal(type, 0)) return false;
    type.masked[0] = 1;
    return true;
  }

  /** Whether the MSI-X message of `vector` waits for its mask to be lifted. */
  isPending(vector: number): boolean {
    return this.#type(IrqIndex.MSIX).pending[vector] === 1;
  }

  /** The answer to DEVICE_GET_IRQ_INFO; undefined when there is no such type. */
  info(index: number): IrqInfo | undefined {
    const type = this.#types[index];
    if (type === undefined) return undefined;
    const isIntx = index === IrqIndex.INTX;
    const maskable = index <= IrqIndex.MSIX;
    return { index, count: type.count, eventfd: true, maskable, automasked: isIntx, noresize: false };
  }

  /**
   * Does what DEVICE_SET_IRQS asks for; `descriptors` are this object's from now on. Returns 0 or an errno, in which
   * case nothing was done.
   */
  set(request: SetIrqs, descriptors: readonly Descriptor[]): number {
    const errno = this.#refusal(request, descriptors);
    if (errno !== 0) {
      releaseAll(descriptors);
      return errno;
    }
    const type = this.#types[request.index]!;
    const { start, count, action, data } = request;
    if (data === 'eventfd') {
      if (descriptors.length === 0) type.disarm(start, count);
      for (const [i, eventfd] of descriptors.entries()) type.arm(start + i, eventfd);
      if (request.index === IrqIndex.INTX) this.fireIntx();
      return 0;
    }
    if (count === 0) {
      type.disarm();
      return 0;
    }
    for (let i = 0; i < count; i++) {
      if (data === 'none' || data[i] === true) this.#act(request.index, type, start + i, action);
    }
    return 0;
  }

  /** The client is gone: its eventfds are released. INTA stays as the device has it. */
  disconnect(): void {
    for (const type of this.#types) type.disarm();
  }

  /** The device is reset: nothing is pending or asserted. Eventfds and masks stay. */
  reset(): void {
    this.#isAsserted = false;
    for (const type of this.#types) type.pending.fill(0);
  }

  #type(index: number): IrqType {
    return this.#types[index]!;
  }

  /** As libvfio-user's device_set_irqs_validate; what the specification leaves open is refused as Linux does. */
  #refusal({ index, start, count, action, data }: SetIrqs, descriptors: readonly Descriptor[]): number {
    const type = this.#types[index];
    if (type === undefined || start >= type.count || start + count > type.count) return Errno.EINVAL;
    if (index >= IrqIndex.ERR && action !== 'trigger') return Errno.EINVAL;
    if (data !== 'eventfd') return descriptors.length === 0 ? 0 : Errno.EINVAL;
    // An eventfd by which the client masks or unmasks would have to be read; a client that cannot have it sends commands.
    if (action !== 'trigger') return Errno.ENOTTY;
    if (descriptors.length === 0) return 0;
    if (descriptors.length !== count) return Errno.EINVAL;
    const { eventfds } = this.#wires;
    if (eventfds === undefined) return Errno.EOPNOTSUPP;
    return descriptors.every((descriptor) => eventfds.accepts(descriptor)) ? 0 : Errno.EINVAL;
  }

  #act(index: number, type: IrqType, number: number, action: SetIrqs['action']): void {
    if (action === 'mask') {
      type.masked[number] = 1;
    } else if (action === 'trigger') {
      this.#signal(type, number);
    } else {
      type.masked[number] = 0;
      if (index === IrqIndex.INTX) this.fireIntx();
      else if (type.pending[number] === 1 && this.#signal(type, number)) type.pending[number] = 0;
    }
  }

  #message(type: IrqType, vector: number): boolean {
    if (type.eventfd(vector) === undefined) return false;
    if (type.masked[vector] === 1) {
      type.pending[vector] = 1;
      return false;
    }
    return this.#signal(type, vector);
  }

  #signal(type: IrqType, number: number): boolean {
    const eventfd = type.eventfd(number);
    if (eventfd === undefined || this.#wires.eventfds === undefined) return false;
    this.#wires.eventfds.signal(eventfd);
    return true;
  }
}
