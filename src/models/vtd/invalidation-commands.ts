/** What the descriptors of the queue ask for, gathered (VT-d 6.5.2). @module */
import type { InvalidationBatch } from '../../iommu/index.ts';
import { ALL_PAGES, type PageRange, PAGES_END } from '../../memory/index.ts';
import * as spec from './spec/index.ts';

/** An Invalidation Wait descriptor (VT-d 6.5.2.8). */
export interface Wait {
  /** SW: where STDATA is written; undefined when it is not. */
  readonly status: { readonly page: number; readonly word: number; readonly data: number } | undefined;
  /** IF: an invalidation event follows. */
  readonly interrupt: boolean;
}

/** Adds the descriptor in `words`, which `checkDescriptor` has passed, to `batch`; a wait is returned instead. */
export function gather(words: ArrayLike<number>, batch: InvalidationBatch): Wait | undefined {
  switch (spec.descriptorType(words[0] ?? 0)) {
    case spec.TYPE_CC_INV_DSC:
      contextCache(words, batch);
      return;
    case spec.TYPE_PC_INV_DSC:
      pasidCache(words, batch);
      return;
    case spec.TYPE_IOTLB_INV_DSC:
      iotlb(words, batch);
      return;
    case spec.TYPE_P_IOTLB_INV_DSC:
      pasidIotlb(words, batch);
      return;
    case spec.TYPE_DEV_TLB_INV_DSC:
      deviceTlb(words, batch);
      return;
    case spec.TYPE_P_DEV_TLB_INV_DSC:
      pasidDeviceTlb(words, batch);
      return;
    case spec.TYPE_INV_WAIT_DSC:
      return wait(words);
    default:
      // Interrupt entries: the unit remaps no interrupts and caches none.
      return;
  }
}

/**
 * A context-cache invalidation of granularity `g` (VT-d 6.5.2.1). By device, the domain is a hint for caches that are
 * tagged with it; none is needed here.
 */
export function addContextCache(
  batch: InvalidationBatch,
  g: number,
  domain: number,
  source: number,
  fm: number,
): void {
  if (g === spec.CC_GLOBAL) {
    batch.everyStructure = true;
  } else if (g === spec.CC_DOMAIN) {
    batch.structureDomains.add(domain);
  } else {
    const compared = spec.sourceMask(fm);
    const base = source & ~7;
    for (let fn = 0; fn < 8; fn++) {
      if (((base | fn) & compared) === (source & compared)) batch.sources.add(base | fn);
    }
  }
}

/** An IOTLB invalidation of granularity `g` (VT-d 6.5.2.3). IH is of no use: no paging structure is cached. */
export function addIotlb(
  batch: InvalidationBatch,
  g: number,
  domain: number,
  page: number,
  am: number,
): void {
  if (g === spec.IOTLB_GLOBAL) batch.everything = true;
  else if (g === spec.IOTLB_DOMAIN) batch.domains.add(domain);
  else batch.addPages(domain, aligned(page, am));
}

function aligned(page: number, am: number): PageRange {
  const start = spec.firstPage(page, am);
  return { start, end: Math.min(PAGES_END, start + 2 ** am) };
}

function contextCache(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { G, DID, SID, FM } = spec.CC_INV_DSC.fields;
  const read = (field: spec.Field): number => spec.readField(words, field);
  addContextCache(batch, read(G), read(DID), read(SID), read(FM));
}

/** By PASID is done by domain: which index a PASID is depends on RID_PASID (VT-d 6.5.2.2). */
function pasidCache(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { G, DID } = spec.PC_INV_DSC.fields;
  if (spec.readField(words, G) === spec.PC_GLOBAL) batch.everyStructure = true;
  else batch.structureDomains.add(spec.readField(words, DID));
}

function iotlb(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { G, DID, AM, ADDR } = spec.IOTLB_INV_DSC.fields;
  const read = (field: spec.Field): number => spec.readField(words, field);
  addIotlb(batch, read(G), read(DID), read(ADDR), read(AM));
}

function pasidIotlb(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { G, DID, PASID, AM, ADDR } = spec.P_IOTLB_INV_DSC.fields;
  const read = (field: spec.Field): number => spec.readField(words, field);
  if (read(G) === spec.PIOTLB_PASID) batch.addPasid(read(DID), read(PASID), ALL_PAGES);
  else batch.addPasid(read(DID), read(PASID), aligned(read(ADDR), read(AM)));
}

function deviceTlb(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { SID, S, ADDR } = spec.DEV_TLB_INV_DSC.fields;
  const { start, pages } = spec.deviceTlbPages(spec.readField(words, ADDR), spec.readField(words, S) === 1);
  const range = { start, end: Math.min(PAGES_END, start + pages) };
  batch.deviceTlbs.push({ requester: spec.readField(words, SID), index: 0, range });
}

function pasidDeviceTlb(words: ArrayLike<number>, batch: InvalidationBatch): void {
  const { SID, PASID, G, S, ADDR } = spec.P_DEV_TLB_INV_DSC.fields;
  const { start, pages } = spec.deviceTlbPages(spec.readField(words, ADDR), spec.readField(words, S) === 1);
  const range = { start, end: Math.min(PAGES_END, start + pages) };
  const index = spec.readField(words, G) === 1 ? undefined : spec.readField(words, PASID);
  batch.deviceTlbs.push({ requester: spec.readField(words, SID), index, range });
}

function wait(words: ArrayLike<number>): Wait {
  const { IF, SW } = spec.INV_WAIT_DSC.fields;
  const [low, high] = [words[2] ?? 0, words[3] ?? 0];
  const status =
    spec.readField(words, SW) === 1
      ? { page: spec.pageOf(low, high), word: (low & 0xfff) >>> 2, data: words[1] ?? 0 }
      : undefined;
  return { status, interrupt: spec.readField(words, IF) === 1 };
}
