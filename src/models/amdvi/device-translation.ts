/** From a requester to what translates it: the device table entry (AMD-Vi 2.2.2). @module */
import type { RadixTable, RequesterId } from '../../iommu/index.ts';
import { type Access, addressOf, PageCursor } from '../../memory/index.ts';
import type { AmdviState, Suppress } from './amdvi-state.ts';
import { HOST_PAGE_FORMAT } from './page-format.ts';
import * as spec from './spec/index.ts';

/**
 * How requests without PASID are translated. `excluded`: those to the exclusion range pass untranslated, because of EX or
 * Allow. An entry that is illegal excludes nothing; TV and Mode do not matter to it.
 */
export type DeviceTranslation =
  | {
      readonly kind: 'fault';
      readonly fault: spec.FaultReason;
      /** Byte address of the device table entry where it could not be read. */
      readonly entryAddress: bigint | undefined;
      readonly domain: number;
      readonly excluded: boolean;
      readonly suppress: Suppress;
    }
  /** V is clear, or the IOMMU is off: addresses are used as they are, and nothing is checked. */
  | { readonly kind: 'pass-through' }
  /** Mode 0: addresses are used as they are where the entry permits it. */
  | {
      readonly kind: 'identity';
      readonly domain: number;
      readonly access: Access;
      readonly excluded: boolean;
      readonly suppress: Suppress;
    }
  | {
      readonly kind: 'tables';
      readonly domain: number;
      /** Page of the root table, and its level. */
      readonly root: number;
      readonly levels: number;
      readonly access: Access;
      readonly excluded: boolean;
      readonly suppress: Suppress;
    };

/** A device table entry that a lookup read, for people who want to see the way. */
export interface DeviceTableStep {
  /** Page of the table and byte offset of the entry in it. */
  readonly table: number;
  readonly offset: number;
  /** The entry's 32-bit words, low first. */
  readonly words: readonly number[];
}

/** Sees the device table entry. */
export type DeviceTableVisitor = (step: DeviceTableStep) => void;

/** Why an interrupt message goes no further. */
export interface BlockedInterrupt {
  readonly fault: spec.FaultReason;
  /** Byte address of the device table entry where it could not be read. */
  readonly entryAddress: bigint | undefined;
}

const FIELDS = spec.DEVICE_TABLE_ENTRY.fields;

/** Looks up what translates requests of `requester`. Reads guest memory anew each time and never throws. */
export function lookupDevice(
  state: AmdviState,
  requester: RequesterId,
  visit?: DeviceTableVisitor,
): DeviceTranslation {
  if (!state.enabled) return PASS_THROUGH;
  const at = whereIs(state, requester);
  if (at === undefined) return faultOf(spec.DEVICE_BEYOND_TABLE);
  const words = read(state, at);
  if (words === undefined) return faultOf(spec.ENTRY_UNREADABLE, addressOf(at.table) + BigInt(at.offset));
  visit?.({ ...at, words: [...words] });
  if ((words[0] & spec.DTE_V) === 0) return PASS_THROUGH;

  const domain = spec.readField(words, FIELDS.DomainID);
  const suppress = suppressOf(words);
  const faulty = (fault: spec.FaultReason, excluded: boolean): DeviceTranslation => {
    return { kind: 'fault', fault, entryAddress: undefined, domain, excluded, suppress };
  };
  if (anyReserved(state, words, 0)) return faulty(spec.ENTRY_RESERVED_BIT, false);
  const excluded = isExcluded(state, words);
  if ((words[0] & spec.DTE_TV) === 0) return faulty(spec.TRANSLATION_INVALID, excluded);
  const levels = spec.readField(words, FIELDS.Mode);
  if (levels > spec.hostLevels(state.capability.HATS)) return faulty(spec.ENTRY_MODE, excluded);

  const access = ((words[1] >>> spec.PTE_ACCESS_SHIFT_HI) & 3) as Access;
  if (levels === spec.MODE_NO_TRANSLATION) return { kind: 'identity', domain, access, excluded, suppress };
  const root = spec.readField(words, FIELDS.HostPageTableRootPtr);
  return { kind: 'tables', domain, root, levels, access, excluded, suppress };
}

/** The tables of a translation, for the shared walker. */
export function hostTable(
  state: AmdviState,
  { root, levels, access }: Extract<DeviceTranslation, { kind: 'tables' }>,
): RadixTable {
  return { format: HOST_PAGE_FORMAT, memory: state.memory, root, levels, base: 0, access };
}

/**
 * Why interrupt messages of `requester` are blocked (IV and IntCtl, which do not depend on V); undefined when they are
 * forwarded. Those that would be remapped are forwarded as they are: interrupt remapping is not modelled.
 */
export function blockedInterrupt(state: AmdviState, requester: RequesterId): BlockedInterrupt | undefined {
  if (!state.enabled) return undefined;
  const at = whereIs(state, requester);
  if (at === undefined) return { fault: spec.INTERRUPT_BEYOND_TABLE, entryAddress: undefined };
  const words = read(state, at);
  if (words === undefined) {
    return { fault: spec.INTERRUPT_ENTRY_UNREADABLE, entryAddress: addressOf(at.table) + BigInt(at.offset) };
  }
  if (spec.readField(words, FIELDS.IV) === 0) return undefined;
  if (anyReserved(state, words, HALF))
    return { fault: spec.INTERRUPT_ENTRY_ILLEGAL, entryAddress: undefined };
  const control = spec.readField(words, FIELDS.IntCtl);
  if (control === spec.INT_CTL_ABORT) return { fault: spec.INTERRUPT_BLOCKED, entryAddress: undefined };
  if (control !== spec.INT_CTL_RESERVED) return undefined;
  return { fault: spec.INTERRUPT_ENTRY_ILLEGAL, entryAddress: undefined };
}

const PASS_THROUGH: DeviceTranslation = { kind: 'pass-through' };

function faultOf(fault: spec.FaultReason, entryAddress?: bigint): DeviceTranslation {
  return { kind: 'fault', fault, entryAddress, domain: 0, excluded: false, suppress: 'none' };
}

/** Allow excludes the exclusion range for all devices, EX for the entry's own. */
function isExcluded({ exclusion }: AmdviState, words: Uint32Array): boolean {
  if (exclusion === undefined) return false;
  return exclusion.everyDevice || spec.readField(words, FIELDS.EX) === 1;
}

function suppressOf(words: Uint32Array): Suppress {
  if (spec.readField(words, FIELDS.SA) === 1) return 'all';
  return spec.readField(words, FIELDS.SE) === 1 ? 'repeated' : 'none';
}

/** Where the entry of `requester` lies; undefined beyond the end of the table. */
function whereIs(
  { deviceTable }: AmdviState,
  requester: RequesterId,
): { readonly table: number; readonly offset: number } | undefined {
  if (requester >= deviceTable.entries) return undefined;
  const table = deviceTable.page + Math.floor(requester / spec.DEVICE_TABLE_ENTRIES_A_PAGE);
  const offset = (requester % spec.DEVICE_TABLE_ENTRIES_A_PAGE) * spec.DEVICE_TABLE_ENTRY_WORDS * 4;
  return { table, offset };
}

/** The entry's words as a view of guest memory; undefined outside RAM. */
function read(
  state: AmdviState,
  { table, offset }: { readonly table: number; readonly offset: number },
): Uint32Array | undefined {
  const cursor = new PageCursor();
  if (!state.memory.locate(table, cursor)) return undefined;
  const first = cursor.base + offset / 4;
  return cursor.words.subarray(first, first + spec.DEVICE_TABLE_ENTRY_WORDS);
}

/** Words of either half of an entry: the first is about DMA and valid with V, the second about interrupts and valid with IV. */
const HALF = 4;

/** Whether a reserved bit is set in the half of an entry that begins at word `first`. */
function anyReserved({ capability }: AmdviState, words: Uint32Array, first: number): boolean {
  const reserved = reservedOf(capability);
  for (let i = first; i < first + HALF; i++) if ((words[i] & reserved[i]) !== 0) return true;
  return false;
}

/** Masks by IOMMU: a lookup must not build them anew. */
const masks: WeakMap<spec.Capability, readonly number[]> = new WeakMap();

function reservedOf(capability: spec.Capability): readonly number[] {
  let reserved = masks.get(capability);
  if (reserved === undefined) masks.set(capability, (reserved = spec.deviceTableEntryReserved(capability)));
  return reserved;
}
