import {
  IommuRegion,
  LeafBatch,
  type LeafVisitor,
  type NotifierEvents,
  type RadixLookup,
  type RadixStep,
  type RequesterId,
  type WalkBudget,
  type WalkReport,
} from '../../iommu/index.ts';
import { Access, type IommuTlbEntry, intersect, type PageRange, PAGES_END } from '../../memory/index.ts';
import { keepFlags } from './access-flags.ts';
import { translationFault } from './fault.ts';
import { besideInterrupts, isInterrupt } from './interrupt-range.ts';
import { stagesOf, walkNested } from './nested.ts';
import type { RemappingState } from './remapping-state.ts';
import { lookupRequest, type RequestTranslation } from './request-translation.ts';
import * as spec from './spec/index.ts';
import { beyondWidth, type Stage, translateStage, walkStage } from './stages.ts';

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

/** Why there is none. Without a code the access lacks permission, and what it lacks names the fault. */
interface Untranslated {
  readonly code: number | undefined;
  readonly notPresent: boolean;
}

/** A request under way. */
interface Request {
  readonly page: number;
  readonly access: Access;
  readonly index: number;
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

  /** How requests of `index` are translated now, by the tables in memory; while translation is disabled they all pass through. */
  translation(index: number): RequestTranslation {
    if (!this.#state.translationEnabled) return UNTRANSLATED;
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
    const request: Request = { page, access, index };
    if (translation.kind === 'fault') return this.#fault(translation, request, translation.code);
    const scalable = this.#state.translationTableMode === spec.TTM_SCALABLE;
    const inInterruptRange = scalable ? spec.SGN_8 : spec.LGN_4;
    if (translation.kind === 'pass-through') {
      const within = page < 2 ** (this.#state.haw - 12);
      if (!within) return this.#fault(translation, request, scalable ? spec.SGN_4 : spec.LGN_1);
      if (isInterrupt(page)) return this.#fault(translation, request, inInterruptRange);
      return { iova: page, pages: 1, target: page, access: Access.ReadWrite };
    }
    const { first, second } = stagesOf(this.#state, translation);
    const steps: RadixStep[] = [];
    const outer = leafOf(
      translateStage((first ?? second) as Stage, page, (step) => steps.push(step)),
      first !== undefined,
      scalable,
    );
    const middle = 'code' in outer ? 0 : outer.target + (page - outer.iova);
    const found =
      'code' in outer || first === undefined || second === undefined
        ? outer
        : throughSecond(outer, second, request, middle);
    if ('code' in found) {
      if (found.notPresent && access === Access.None) return notMapped(page);
      return this.#fault(translation, request, found.code ?? permissionCode(scalable, access));
    }
    if ((found.access & access) !== access) {
      // SSS.2: the levels together permit nothing at all (VT-d 7.1.3).
      const nothing = found.access === 0 && translation.kind === 'second-stage' && scalable;
      return this.#fault(
        translation,
        request,
        nothing ? spec.SSS_2 : permissionCode(scalable, access & ~found.access),
      );
    }
    if (isInterrupt(found.target + (page - found.iova)))
      return this.#fault(translation, request, inInterruptRange);
    if (access !== Access.None) {
      const isWrite = (access & Access.Write) !== 0;
      const completed = {
        translation,
        steps,
        isWrite,
        middle,
        second: first === undefined ? undefined : second,
      };
      const code = keepFlags(this.#state, completed);
      if (code !== undefined) return this.#fault(translation, request, code);
    }
    return { ...besideInterrupts(found, page), access: found.access as Access };
  }

  #fault(translation: { readonly fpd: boolean }, request: Request, code: number): IommuTlbEntry {
    const { page, access, index } = request;
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

const UNTRANSLATED: RequestTranslation = { kind: 'pass-through', domain: 0, fpd: false, pasids: false };

function pasidOf(index: number): number | undefined {
  return index === 0 ? undefined : index;
}

function leafOf(
  found: RadixLookup | undefined,
  first: boolean,
  scalable: boolean,
): Translated | Untranslated {
  if (found === undefined) return { code: beyondWidth(first, scalable).code, notPresent: false };
  if (found.kind === 'leaf') return found;
  if (found.kind === 'fault') return { code: found.fault.code, notPresent: false };
  // A second-stage entry without R and W is one that permits nothing (VT-d 9.8); legacy mode knows no other name.
  const code = first ? spec.SFS_2 : scalable ? spec.SSS_2 : undefined;
  return { code, notPresent: true };
}

/** The first stage's leaf through the second stage (VT-d 3.8), whose turn comes when the first stage permits the access. */
function throughSecond(
  outer: Translated,
  second: Stage,
  request: Request,
  middle: number,
): Translated | Untranslated {
  const { page, access } = request;
  if ((outer.access & access) !== access) {
    return { code: permissionCode(true, access & ~outer.access), notPresent: false };
  }
  const inner = leafOf(translateStage(second, middle), false, true);
  if ('code' in inner) return inner;
  if (inner.access === 0) return { code: spec.SSS_2, notPresent: true };
  const pages = Math.min(outer.pages, inner.pages);
  const iova = Math.floor(page / pages) * pages;
  const target = inner.target + (middle - inner.iova) - (page - iova);
  return { iova, pages, target, access: outer.access & inner.access };
}

function notMapped(page: number): IommuTlbEntry {
  return { iova: page, pages: 1, target: 0, access: Access.None };
}

/** A write that lacks permission, or else a read (VT-d 7.1.3: LGN.2 and LGN.3, SGN.6 and SGN.7). */
function permissionCode(scalable: boolean, missing: number): number {
  if ((missing & Access.Write) !== 0) return scalable ? spec.SGN_6 : spec.LGN_2;
  return scalable ? spec.SGN_7 : spec.LGN_3;
}
