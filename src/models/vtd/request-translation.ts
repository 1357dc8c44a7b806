/**
 * From a requester (and PASID) to the tables that translate it: root, context and PASID structures (VT-d 3.4, 9.1-9.6).
 *
 * @module
 */
import type { RequesterId } from '../../iommu/index.ts';
import { PageCursor } from '../../memory/index.ts';
import type { RemappingState } from './remapping-state.ts';
import * as spec from './spec/index.ts';
import { type StructureMasks, structureMasks } from './structure-masks.ts';

/** Tables of one stage: page of the top table and levels. */
export interface StageTables {
  readonly root: number;
  readonly levels: number;
}

/** How a request is translated. */
export type RequestTranslation =
  | { readonly kind: 'fault'; readonly code: number; readonly fpd: boolean }
  | {
      readonly kind: 'pass-through';
      readonly domain: number;
      readonly fpd: boolean;
      readonly pasids: boolean;
    }
  | {
      readonly kind: 'second-stage';
      readonly domain: number;
      readonly fpd: boolean;
      readonly scalable: boolean;
      readonly secondStage: StageTables;
      /** SSADE: accessed and dirty flags are kept in the tables. */
      readonly keepsFlags: boolean;
    }
  | {
      readonly kind: 'first-stage' | 'nested';
      readonly domain: number;
      readonly fpd: boolean;
      readonly firstStage: StageTables;
      /** Nested: translates first-stage table addresses and outputs. */
      readonly secondStage: StageTables | undefined;
      /** EAFE: the extended-accessed flag is kept too. */
      readonly extendedAccessed: boolean;
      readonly keepsFlags: boolean;
    };

/** One structure that a lookup read, for people who want to see the way. */
export interface StructureStep {
  /** The specification's name: `root entry`, `context entry`, `PASID-directory entry`, `PASID-table entry`. */
  readonly structure: string;
  /** Page of the table and byte offset of the entry in it. */
  readonly table: number;
  readonly offset: number;
  /** The entry's 32-bit words, low first. */
  readonly words: readonly number[];
}

/** Sees each structure on the way. */
export type StructureVisitor = (step: StructureStep) => void;

/**
 * Looks up what translates requests of `requester`; `pasid` undefined for requests without one. Reads guest memory
 * anew each time and never throws. Translation must be enabled.
 */
export function lookupRequest(
  state: RemappingState,
  requester: RequesterId,
  pasid: number | undefined,
  visit?: StructureVisitor,
): RequestTranslation {
  const lookup = new Lookup(state, requester, visit);
  switch (state.translationTableMode) {
    case spec.TTM_LEGACY:
      return pasid === undefined ? lookup.legacy() : lookup.fault(spec.RTA_2);
    case spec.TTM_SCALABLE:
      return state.capability.SMTS ? lookup.scalable(pasid) : lookup.fault(spec.RTA_1);
    case spec.TTM_ABORT_DMA:
      return lookup.fault(state.capability.ADMS ? spec.RTA_4 : spec.RTA_1);
    default:
      return lookup.fault(spec.RTA_1);
  }
}

class Lookup {
  readonly #state: RemappingState;
  readonly #masks: StructureMasks;
  readonly #bus: number;
  readonly #devfn: number;
  readonly #visit: StructureVisitor | undefined;
  #fpd = false;

  constructor(state: RemappingState, requester: RequesterId, visit: StructureVisitor | undefined) {
    this.#state = state;
    this.#masks = structureMasks(state.capability, state.haw);
    this.#bus = requester >>> 8;
    this.#devfn = requester & 0xff;
    this.#visit = visit;
  }

  fault(code: number): RequestTranslation {
    return { kind: 'fault', code, fpd: this.#fpd };
  }

  /** VT-d 3.4.2, checks in the order of 7.1.3's legacy conditions. */
  legacy(): RequestTranslation {
    const { capability, rootTable } = this.#state;
    const root = this.#read(
      'root entry',
      rootTable,
      this.#bus * spec.ROOT_ENTRY_WORDS,
      spec.ROOT_ENTRY_WORDS,
    );
    if (root === undefined) return this.fault(spec.LRT_1);
    if (!present(root)) return this.fault(spec.LRT_2);
    if (anySet(root, this.#masks.root)) return this.fault(spec.LRT_3);

    const contextTable = spec.readField(root, spec.ROOT_ENTRY.fields.CTP);
    const words = spec.CONTEXT_ENTRY_WORDS;
    const context = this.#read('context entry', contextTable, this.#devfn * words, words);
    if (context === undefined) return this.fault(spec.LCT_1);
    this.#noteFpd(context);
    if (!present(context)) return this.fault(spec.LCT_2);
    if (anySet(context, this.#masks.context)) return this.fault(spec.LCT_3);

    const field = spec.CONTEXT_ENTRY.fields;
    const domain = spec.readField(context, field.DID);
    const aw = spec.readField(context, field.AW);
    const type = spec.readField(context, field.TT);
    if (type === spec.TT_PASS_THROUGH) {
      // VT-d 9.3: pass-through needs ECAP.PT, and AW must be the largest width that SAGAW reports.
      const usable = capability.PT && aw === spec.largestAddressWidth(capability.SAGAW);
      return usable ? this.#passThrough(domain, false) : this.fault(spec.LCT_4);
    }
    const levels = spec.levelsOf(aw, capability.SAGAW);
    const typeUsable = type === spec.TT_UNTRANSLATED || (type === spec.TT_DEVICE_TLB && capability.DT);
    if (!typeUsable || levels === 0) return this.fault(spec.LCT_4);
    return {
      kind: 'second-stage',
      domain,
      fpd: this.#fpd,
      scalable: false,
      secondStage: { root: spec.readField(context, field.SSPTPTR), levels },
      keepsFlags: false,
    };
  }

  /** VT-d 3.4.3: half a root entry, context entry, PASID directory, PASID table. */
  scalable(pasid: number | undefined): RequestTranslation {
    const { capability, rootTable } = this.#state;
    const upper = this.#devfn >= 0x80;
    const at = this.#bus * spec.ROOT_ENTRY_WORDS + (upper ? 2 : 0);
    const root = this.#read(`${upper ? 'upper' : 'lower'} root entry`, rootTable, at, 2);
    if (root === undefined) return this.fault(spec.SRT_1);
    if (!present(root)) return this.fault(spec.SRT_2);
    if (anySet(root, this.#masks.smRootHalf)) return this.fault(spec.SRT_3);

    const contextTable = spec.readField(root, spec.SM_ROOT_ENTRY.fields.LCTP);
    const contextWords = spec.SM_CONTEXT_ENTRY_WORDS;
    const contextAt = (this.#devfn & 0x7f) * contextWords;
    const context = this.#read('scalable-mode context entry', contextTable, contextAt, contextWords);
    if (context === undefined) return this.fault(spec.SCT_1);
    this.#noteFpd(context);
    if (!present(context)) return this.fault(spec.SCT_2);
    if (anySet(context, this.#masks.smContext)) return this.fault(spec.SCT_3);

    const field = spec.SM_CONTEXT_ENTRY.fields;
    const pasids = spec.readField(context, field.PASIDE) === 1;
    const ridPasid = capability.RPS ? spec.readField(context, field.RID_PASID) : 0;
    if (pasid !== undefined && !pasids) return this.fault(spec.SCT_6);
    const wanted = pasid ?? ridPasid;
    const directoryEntries = spec.pasidDirectoryEntries(spec.readField(context, field.PDTS));
    const directoryIndex = Math.floor(wanted / spec.PASID_TABLE_ENTRIES);
    if (directoryIndex >= directoryEntries) return this.fault(pasid === undefined ? spec.SCT_4 : spec.SCT_7);

    const directoryAt = directoryIndex * spec.PASID_DIRECTORY_ENTRY_WORDS;
    const directory = this.#read(
      'PASID-directory entry',
      spec.readField(context, field.PASIDDIRPTR),
      directoryAt,
      spec.PASID_DIRECTORY_ENTRY_WORDS,
    );
    if (directory === undefined) return this.fault(spec.SPD_1);
    this.#noteFpd(directory);
    if (!present(directory)) return this.fault(spec.SPD_2);
    if (anySet(directory, this.#masks.directory)) return this.fault(spec.SPD_3);

    const tableWords = spec.PASID_TABLE_ENTRY_WORDS;
    const entry = this.#read(
      'PASID-table entry',
      spec.readField(directory, spec.PASID_DIRECTORY_ENTRY.fields.SMPTBLPTR),
      (wanted % spec.PASID_TABLE_ENTRIES) * tableWords,
      tableWords,
    );
    if (entry === undefined) return this.fault(spec.SPT_1);
    this.#noteFpd(entry);
    if (!present(entry)) return this.fault(spec.SPT_2);
    return this.#pasidEntry(entry, pasids);
  }

  #pasidEntry(entry: Uint32Array, pasids: boolean): RequestTranslation {
    const { capability } = this.#state;
    const field = spec.PASID_TABLE_ENTRY.fields;
    const type = spec.readField(entry, field.PGTT);
    const nested = type === spec.PGTT_NESTED;
    const reserved = nested ? this.#masks.nestedPasidEntry : this.#masks.pasidEntry;
    if (anySet(entry, reserved)) return this.fault(spec.SPT_3);
    if (!spec.supportsPgtt(type, capability)) return this.fault(spec.SPT_4);
    const domain = spec.readField(entry, field.DID);
    if (type === spec.PGTT_PASS_THROUGH) return this.#passThrough(domain, pasids);

    const ssLevels = spec.levelsOf(spec.readField(entry, field.AW), capability.SAGAW);
    const secondStage = { root: spec.readField(entry, field.SSPTPTR), levels: ssLevels };
    const keepsFlags = spec.readField(entry, field.SSADE) === 1;
    const fpd = this.#fpd;
    if (type === spec.PGTT_SECOND_STAGE) {
      if (ssLevels === 0) return this.fault(spec.SPT_4);
      return { kind: 'second-stage', domain, fpd, scalable: true, secondStage, keepsFlags };
    }
    const fsLevels = spec.firstStageLevels(spec.readField(entry, field.FSPM), capability);
    if (fsLevels === 0 || (nested && ssLevels === 0)) return this.fault(spec.SPT_4);
    return {
      kind: nested ? 'nested' : 'first-stage',
      domain,
      fpd,
      firstStage: { root: spec.readField(entry, field.FSPTPTR), levels: fsLevels },
      secondStage: nested ? secondStage : undefined,
      extendedAccessed: spec.readField(entry, field.EAFE) === 1,
      keepsFlags,
    };
  }

  #passThrough(domain: number, pasids: boolean): RequestTranslation {
    return { kind: 'pass-through', domain, fpd: this.#fpd, pasids };
  }

  /** VT-d 7.1.3: FPD counts as soon as a structure with it was read, whether that is present or not. */
  #noteFpd(words: Uint32Array): void {
    if (((words[0] ?? 0) & spec.ENTRY_FPD) !== 0) this.#fpd = true;
  }

  /**
   * `count` words from word `at` of the table that starts at `page` (which may span pages), as a view of guest memory;
   * undefined outside RAM.
   */
  #read(structure: string, page: number, at: number, count: number): Uint32Array | undefined {
    const table = page + Math.floor(at / 1024);
    const inPage = at % 1024;
    const cursor = new PageCursor();
    if (!this.#state.memory.locate(table, cursor)) return undefined;
    const first = cursor.base + inPage;
    const words = cursor.words.subarray(first, first + count);
    this.#visit?.({ structure, table, offset: inPage * 4, words: [...words] });
    return words;
  }
}

function present(words: Uint32Array): boolean {
  return ((words[0] ?? 0) & spec.ENTRY_P) !== 0;
}

function anySet(words: Uint32Array, masks: readonly number[]): boolean {
  return masks.some((mask, i) => ((words[i] ?? 0) & mask) !== 0);
}
