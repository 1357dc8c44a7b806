import {
  IommuRegion,
  LeafBatch,
  type LeafVisitor,
  type NotifierEvents,
  type RadixLookup,
  type RadixStep,
  type RequesterId,
  type TableMemory,
  type WalkBudget,
  type WalkReport,
} from '../../iommu/index.ts';
import { Access, type IommuTlbEntry, intersect, PageCursor, type PageRange, PAGES_END } from '../../memory/index.ts';
import { translationFault } from './fault.ts';
import type { RemappingState } from './remapping-state.ts';
import { lookupRequest, type RequestTranslation } from './request-translation.ts';
import * as spec from './spec/index.ts';
import { beyondWidth, NestedTableMemory, type Stage, stagesOf, translateStage, walkNested, walkStage } from './stages.ts';

/** Pages of the interrupt range 0xfee00000-0xfeefffff (VT-d 3.14): never translated, and never the result of a translation. */
export const INTERRUPT_RANGE: PageRange = { start: 0xfee00, end: 0xfef00 };

/** How a region is set up; the unit passes its own on. */
export interface VtdRegionOptions {
  readonly budget?: WalkBudget;
  readonly iotlb?: boolean;
}

/** A leaf as all stages together give it. */
interface Translated {
  readonly iova: number;
  readonly pages: number;
  readonly target: number;
  readonly access: number;
}

/**
 * What one requester's DMA goes through. Translation index 0 are requests without PASID, index p requests with PASID p.
 */
export class VtdRegion extends IommuRegion {
  readonly requester: RequesterId;
  readonly #state: RemappingState;

  constructor(name: string, state: RemappingState, requester: RequesterId, options: VtdRegionOptions) {
    super(name, PAGES_END, state.memory, options);
    this.requester = requester;
    this.#state = state;
  }

  /** How requests of `index` are translated now, by the tables in memory; only while translation is enabled. */
  translation(index: number): RequestTranslation {
    return lookupRequest(this.#state, this.requester, pasidOf(index));
  }

  protected override refuses(events: NotifierEvents, index: number): string | undefined {
    const { capability, translationEnabled, guestStopped } = this.#state;
    if (events !== 'map-and-unmap' || guestStopped) return undefined;
    if (!capability.CM) {
      return (
        'the guest need not report new mappings, because caching mode (CAP_REG.CM) is off, so a host IOMMU cannot ' +
        'follow it: turn caching mode on (in QEMU: -device intel-iommu,caching-mode=on)'
      );
    }
    if (!translationEnabled) return undefined;
    const { kind } = this.translation(index);
    if (kind !== 'first-stage' && kind !== 'nested') return undefined;
    return (
      'the guest translates this device by first-stage tables, whose new entries it need not report even in caching ' +
      'mode (VT-d 6.1), so a host IOMMU cannot follow it: make the guest use second-stage tables (do not offer ' +
      'ECAP_REG.FSTS; in QEMU: leave out x-flts/fsts)'
    );
  }

  override walk(range: PageRange, index: number, visit: LeafVisitor, report: WalkReport): void {
    const translation = this.translation(index);
    if (translation.kind === 'fault') {
      report.addFault(range.start, range.end - range.start, translationFault(translation.code));
      return;
    }
    if (translation.kind === 'pass-through') {
      this.#walkIdentity(range, visit, report);
      return;
    }
    const { first, second } = stagesOf(this.#state, translation);
    if (first !== undefined && second !== undefined) walkNested(first, second, range, visit, report);
    else walkStage((first ?? second) as Stage, range, visit, report);
  }

  protected override resolve(page: number, access: Access, index: number): IommuTlbEntry {
    const translation = this.translation(index);
    if (translation.kind === 'fault') return this.#fault(translation, page, access, index, translation.code);
    const scalable = this.#state.translationTableMode === spec.TTM_SCALABLE;
    if (translation.kind === 'pass-through') {
      const within = page < 2 ** (this.#state.haw - 12);
      if (!within) return this.#fault(translation, page, access, index, scalable ? spec.SGN_4 : spec.LGN_1);
      return { iova: page, pages: 1, target: page, access: Access.ReadWrite };
    }
    const steps: RadixStep[] = [];
    const found = this.#translate(translation, page, steps);
    if ('code' in found) {
      if (found.notPresent && access === Access.None) return notMapped(page);
      return this.#fault(translation, page, access, index, found.code ?? permissionCode(scalable, access));
    }
    if (found.target < INTERRUPT_RANGE.end && found.target + found.pages > INTERRUPT_RANGE.start) {
      const target = found.target + (page - found.iova);
      if (target >= INTERRUPT_RANGE.start && target < INTERRUPT_RANGE.end) {
        return this.#fault(translation, page, access, index, scalable ? spec.SGN_8 : spec.LGN_4);
      }
    }
    if ((found.access & access) !== access) {
      // SSS.2: the levels together permit nothing at all (VT-d 7.1.3).
      if (found.access === 0 && translation.kind === 'second-stage' && scalable) {
        return this.#fault(translation, page, access, index, spec.SSS_2);
      }
      return this.#fault(translation, page, access, index, permissionCode(scalable, access & ~found.access));
    }
    if (access !== Access.None) {
      const code = this.#keepFlags(translation, steps, access);
      if (code !== undefined) return this.#fault(translation, page, access, index, code);
    }
    return { iova: found.iova, pages: found.pages, target: found.target, access: found.access as Access };
  }

  /** All stages for one page; `steps` takes the entries of the stage that keeps flags. */
  #translate(
    translation: Exclude<RequestTranslation, { kind: 'fault' | 'pass-through' }>,
    page: number,
    steps: RadixStep[],
  ): Translated | { readonly code: number | undefined; readonly notPresent: boolean } {
    const { first, second } = stagesOf(this.#state, translation);
    const scalable = this.#state.translationTableMode === spec.TTM_SCALABLE;
    const outer = (first ?? second) as Stage;
    const found = translateStage(outer, page, (step) => steps.push(step));
    const leaf = this.#leafOrCode(found, first !== undefined, scalable);
    if ('code' in leaf || first === undefined || second === undefined) return leaf;
    const middle = leaf.target + (page - leaf.iova);
    const inner = this.#leafOrCode(translateStage(second, middle), false, true);
    if ('code' in inner) return inner;
    const pages = Math.min(leaf.pages, inner.pages);
    const iova = Math.floor(page / pages) * pages;
    const target = inner.target + (middle - inner.iova) - (page - iova);
    return { iova, pages, target, access: leaf.access & inner.access };
  }

  #leafOrCode(
    found: RadixLookup | undefined,
    first: boolean,
    scalable: boolean,
  ): Translated | { readonly code: number | undefined; readonly notPresent: boolean } {
    if (found === undefined) return { code: beyondWidth(first, scalable).code, notPresent: false };
    if (found.kind === 'leaf') return found;
    if (found.kind === 'fault') return { code: found.fault.code, notPresent: false };
    // A second-stage entry without R and W is one that permits nothing (VT-d 9.8); legacy mode knows no other name.
    const code = first ? spec.SFS_2 : scalable ? spec.SSS_2 : undefined;
    return { code, notPresent: true };
  }

  /** Sets accessed and dirty flags in guest memory (VT-d 3.6.2, 3.7.2); a code when they cannot be set. */
  #keepFlags(translation: RequestTranslation, steps: readonly RadixStep[], access: Access): number | undefined {
    let accessed = 0;
    let dirty = 0;
    let code: number = spec.SFS_10;
    let memory: TableMemory = this.#state.memory;
    if (translation.kind === 'second-stage') {
      if (!translation.keepsFlags) return undefined;
      accessed = spec.SS_A;
      dirty = spec.SS_D;
      code = spec.SSS_6;
    } else if (translation.kind === 'first-stage' || translation.kind === 'nested') {
      accessed = spec.FS_A | (translation.extendedAccessed ? spec.FS_EA : 0);
      dirty = spec.FS_D;
      if (translation.kind === 'nested') {
        const { second } = stagesOf(this.#state, translation);
        memory = new NestedTableMemory(memory, second as Stage);
        code = spec.SFS_8;
      }
    }
    const cursor = new PageCursor();
    for (const [i, step] of steps.entries()) {
      const isLeaf = i === steps.length - 1;
      const flags = accessed | (isLeaf && (access & Access.Write) !== 0 ? dirty : 0);
      if ((step.lo & flags) === flags) continue;
      if (!memory.locate(step.table, cursor, true)) return code;
      const at = cursor.base + step.index * 2;
      cursor.words[at] = ((cursor.words[at] ?? 0) | flags) >>> 0;
    }
    return undefined;
  }

  #fault(
    translation: { readonly fpd: boolean },
    page: number,
    access: Access,
    index: number,
    code: number,
  ): IommuTlbEntry {
    if (access !== Access.None) {
      this.#state.recordFault({
        requester: this.requester,
        page,
        isWrite: (access & Access.Write) !== 0,
        pasid: pasidOf(index),
        code,
        fpd: translation.fpd,
      });
    }
    return { ...notMapped(page), fault: translationFault(code) };
  }

  /** Pass-through among translated PASIDs: one leaf as wide as the platform's addresses. */
  #walkIdentity(range: PageRange, visit: LeafVisitor, report: WalkReport): void {
    const pages = 2 ** (this.#state.haw - 12);
    if (intersect(range, { start: 0, end: pages }) === undefined) return;
    const batch = new LeafBatch();
    batch.pages = pages;
    batch.push(0, 0, Access.ReadWrite);
    report.leaves++;
    visit(batch);
  }
}

function pasidOf(index: number): number | undefined {
  return index === 0 ? undefined : index;
}

function notMapped(page: number): IommuTlbEntry {
  return { iova: page, pages: 1, target: 0, access: Access.None };
}

/** A write that lacks permission, or else a read (VT-d 7.1.3: LGN.2 and LGN.3, SGN.6 and SGN.7). */
function permissionCode(scalable: boolean, missing: number): number {
  if ((missing & Access.Write) !== 0) return scalable ? spec.SGN_6 : spec.LGN_2;
  return scalable ? spec.SGN_7 : spec.LGN_3;
}
