import { accept, type Codec, refuseArgsz, refuseFlags, refuseLength, viewOf } from './codec.ts';
import { type IndexedRequest, indexedRequest } from './indexed-request.ts';

const BYTES = 16;
const FLAG_EVENTFD = 1;
const FLAG_MASKABLE = 2;
const FLAG_AUTOMASKED = 4;
const FLAG_NORESIZE = 8;
const FLAGS = FLAG_EVENTFD | FLAG_MASKABLE | FLAG_AUTOMASKED | FLAG_NORESIZE;

/** The interrupt types of a PCI device: what `index` means. Source: `linux/vfio.h`, VFIO_PCI_*_IRQ_INDEX. */
export const IrqIndex = { INTX: 0, MSI: 1, MSIX: 2, ERR: 3, REQ: 4 } as const;

/** Interrupt types of a PCI device. */
export const PCI_IRQS = 5;

/** One interrupt type. Source: vfio-user, "VFIO_USER_DEVICE_GET_IRQ_INFO". */
export interface IrqInfo {
  readonly index: number;
  /** Interrupts of the type. */
  readonly count: number;
  /** It can be signalled by eventfd. */
  readonly eventfd: boolean;
  /** It can be masked and unmasked. */
  readonly maskable: boolean;
  /** It masks itself when it is triggered. */
  readonly automasked: boolean;
  /** Its interrupts are set up as one set; more cannot be added later. */
  readonly noresize: boolean;
}

/** DEVICE_GET_IRQ_INFO; `index` is the interrupt type, one of {@link IrqIndex} for PCI. */
export const irqInfoRequest: Codec<IndexedRequest> = indexedRequest('DEVICE_GET_IRQ_INFO', BYTES);

/** The reply to DEVICE_GET_IRQ_INFO. */
export const irqInfoReply: Codec<IrqInfo> = {
  encode(value) {
    const bytes = new Uint8Array(BYTES);
    const view = viewOf(bytes);
    const flags =
      (value.eventfd ? FLAG_EVENTFD : 0) |
      (value.maskable ? FLAG_MASKABLE : 0) |
      (value.automasked ? FLAG_AUTOMASKED : 0) |
      (value.noresize ? FLAG_NORESIZE : 0);
    view.setUint32(0, BYTES, true);
    view.setUint32(4, flags, true);
    view.setUint32(8, value.index, true);
    view.setUint32(12, value.count, true);
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DEVICE_GET_IRQ_INFO reply', bytes, BYTES);
    const view = viewOf(bytes);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz('DEVICE_GET_IRQ_INFO reply', argsz, BYTES);
    const flags = view.getUint32(4, true);
    if ((flags & ~FLAGS) !== 0) return refuseFlags('DEVICE_GET_IRQ_INFO reply', flags);
    return accept({
      index: view.getUint32(8, true),
      count: view.getUint32(12, true),
      eventfd: (flags & FLAG_EVENTFD) !== 0,
      maskable: (flags & FLAG_MASKABLE) !== 0,
      automasked: (flags & FLAG_AUTOMASKED) !== 0,
      noresize: (flags & FLAG_NORESIZE) !== 0,
    });
  },
};
