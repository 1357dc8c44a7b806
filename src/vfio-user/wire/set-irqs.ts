import { accept, type Codec, refuse, refuseArgsz, refuseFlags, refuseLength, viewOf } from './codec.ts';

const BYTES = 20;
const DATA_NONE = 1;
const DATA_BOOL = 2;
const DATA_EVENTFD = 4;
const DATA_MASK = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTION_MASK = 8;
const ACTION_UNMASK = 16;
const ACTION_TRIGGER = 32;
const FLAGS = DATA_MASK | ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;

const ACTION_OF_FLAG: Readonly<Record<number, SetIrqs['action']>> = {
  [ACTION_MASK]: 'mask',
  [ACTION_UNMASK]: 'unmask',
  [ACTION_TRIGGER]: 'trigger',
};
const FLAG_OF_ACTION = { mask: ACTION_MASK, unmask: ACTION_UNMASK, trigger: ACTION_TRIGGER } as const;

/** What is done with interrupts of one type. Source: vfio-user, "VFIO_USER_DEVICE_SET_IRQS". */
export interface SetIrqs {
  /** The interrupt type. */
  readonly index: number;
  /** The first interrupt. */
  readonly start: number;
  /** Interrupts; 0, with `start` 0, `trigger` and `none`, disables all of the type. `start + count` does not exceed 2^32. */
  readonly count: number;
  readonly action: 'mask' | 'unmask' | 'trigger';
  /**
   * `none`: the action is done. Booleans, `count` of them: it is done where true. `eventfd`: descriptors come with the
   * message, one for each interrupt, to be signalled when it happens; without descriptors, earlier ones are let go.
   */
  readonly data: 'none' | 'eventfd' | readonly boolean[];
}

/** DEVICE_SET_IRQS, to which the reply has no payload. Descriptors are not part of the bytes. */
export const setIrqsRequest: Codec<SetIrqs> = {
  encode(value) {
    const booleans = typeof value.data === 'string' ? [] : value.data;
    const bytes = new Uint8Array(BYTES + booleans.length);
    const view = viewOf(bytes);
    const data = value.data === 'none' ? DATA_NONE : value.data === 'eventfd' ? DATA_EVENTFD : DATA_BOOL;
    view.setUint32(0, bytes.length, true);
    view.setUint32(4, data | FLAG_OF_ACTION[value.action], true);
    view.setUint32(8, value.index, true);
    view.setUint32(12, value.start, true);
    view.setUint32(16, value.count, true);
    for (let i = 0; i < booleans.length; i++) bytes[BYTES + i] = booleans[i] ? 1 : 0;
    return bytes;
  },
  decode(bytes) {
    if (bytes.length < BYTES) return refuseLength('DEVICE_SET_IRQS', bytes, BYTES);
    const view = viewOf(bytes);
    const argsz = view.getUint32(0, true);
    if (argsz < BYTES) return refuseArgsz('DEVICE_SET_IRQS', argsz, BYTES);
    const flags = view.getUint32(4, true);
    const kind = flags & DATA_MASK;
    // A flag that is none of the actions, or more than one of them, is not in the table.
    const action = ACTION_OF_FLAG[flags & ~DATA_MASK];
    if ((flags & ~FLAGS) !== 0 || action === undefined) return refuseFlags('DEVICE_SET_IRQS', flags);
    if (kind !== DATA_NONE && kind !== DATA_BOOL && kind !== DATA_EVENTFD) {
      return refuseFlags('DEVICE_SET_IRQS', flags);
    }
    const index = view.getUint32(8, true);
    const start = view.getUint32(12, true);
    const count = view.getUint32(16, true);
    if (start + count > 0x1_0000_0000) return refuse('DEVICE_SET_IRQS: start and count go beyond 2^32');
    if (count === 0 && (start !== 0 || action !== 'trigger' || kind !== DATA_NONE)) {
      return refuse('DEVICE_SET_IRQS: count 0 needs start 0, the trigger action and no data');
    }
    if (kind === DATA_NONE) return accept({ index, start, count, action, data: 'none' });
    if (kind === DATA_EVENTFD) return accept({ index, start, count, action, data: 'eventfd' });
    if (bytes.length - BYTES !== count) {
      return refuse(`DEVICE_SET_IRQS: ${bytes.length - BYTES} booleans, must be ${count}`);
    }
    return accept({
      index,
      start,
      count,
      action,
      data: Array.from(bytes.subarray(BYTES), (byte) => byte !== 0),
    });
  },
};
