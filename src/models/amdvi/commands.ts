/** What commands ask for, gathered (AMD-Vi 2.4). @module */
import type { InvalidationBatch, RequesterId } from '../../iommu/index.ts';
import type { PageRange } from '../../memory/index.ts';
import * as spec from './spec/index.ts';

/** A COMPLETION_WAIT (AMD-Vi 2.4.1). Everything before it is complete by then, which is more than `f` asks for. */
export interface Wait {
  /** s: where the 64 bits of data are written; undefined when they are not. */
  readonly store: Store | undefined;
  /** i: ComWaitInt is set. */
  readonly interrupt: boolean;
}

/** A store of two words at word `word` of page `page`. */
export interface Store {
  readonly page: number;
  readonly word: number;
  readonly lo: number;
  readonly hi: number;
}

/** What one run of commands does. */
export interface Gathered {
  readonly batch: InvalidationBatch;
  readonly waits: Wait[];
  /** Devices whose entries were invalidated, for which SE begins anew. */
  readonly entries: Set<RequesterId>;
  /** INVALIDATE_IOMMU_ALL was among the commands. */
  everyEntry: boolean;
}

/** Adds the command in `words`, which is legal, to `into`; says whether it is a wait. */
export function gather(words: ArrayLike<number>, into: Gathered): 'wait' | undefined {
  switch (spec.opcodeOf(words[1] ?? 0)) {
    case spec.COMPLETION_WAIT:
      into.waits.push(wait(words));
      return 'wait';
    case spec.INVALIDATE_DEVTAB_ENTRY: {
      const device = spec.readField(words, spec.INVALIDATE_DEVTAB_ENTRY_COMMAND.fields.DeviceID);
      into.batch.sources.add(device);
      into.entries.add(device);
      break;
    }
    case spec.INVALIDATE_IOMMU_PAGES:
      iommuPages(words, into.batch);
      break;
    case spec.INVALIDATE_IOTLB_PAGES:
      iotlbPages(words, into.batch);
      break;
    case spec.INVALIDATE_IOMMU_ALL:
      into.batch.everyStructure = true;
      into.everyEntry = true;
      break;
    default:
      // Interrupt tables are not cached, prefetching is a hint, and page requests are never made.
      break;
  }
  return undefined;
}

/** PDE is of no use: no entry that names a table is cached. Neither are guest translations (GN). */
function iommuPages(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { fields } = spec.INVALIDATE_IOMMU_PAGES_COMMAND;
  if (spec.readField(words, fields.GN) === 1) return;
  batch.addPages(spec.readField(words, fields.DomainID), rangeOf(words, fields));
}

function iotlbPages(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { fields } = spec.INVALIDATE_IOTLB_PAGES_COMMAND;
  const guest = spec.readField(words, fields.GN) === 1;
  const pasid = spec.readField(words, fields.PASID_7_0) + spec.readField(words, fields.PASID_19_8) * 0x100;
  batch.deviceTlbs.push({
    requester: spec.readField(words, fields.DeviceID),
    index: guest ? pasid : 0,
    range: rangeOf(words, fields),
  });
}

function rangeOf(words: ArrayLike<number>, fields: spec.PageOperands): PageRange {
  const { start, pages } = spec.pagesOfCommand(words, fields);
  return { start, end: start + pages };
}

function wait(words: ArrayLike<number>): Wait {
  const { s, i } = spec.COMPLETION_WAIT_COMMAND.fields;
  const [low, high] = [words[0] ?? 0, words[1] ?? 0];
  const store =
    spec.readField(words, s) === 1
      ? {
          page: spec.pageOf(low, high & spec.BASE_PAGE_HI),
          word: (low & 0xff8) >>> 2,
          lo: words[2] ?? 0,
          hi: words[3] ?? 0,
        }
      : undefined;
  return { store, interrupt: spec.readField(words, i) === 1 };
}
