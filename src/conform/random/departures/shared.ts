import { pagesOfText } from '../../text.ts';
import { type ActionStep, type GuestState, rangeOf } from '../guest-state.ts';
import { around, inside, overlap, type Pages, span } from '../known-tables.ts';

/** Requests to it are interrupts, and not translated. */
const INTERRUPTS: Pages = { start: 0xf_ee00, end: 0xf_ef00 };

/** The pages of each leaf that `step` writes anew; for `map`, all of them and how many a leaf has. */
export function newLeaves(
  step: ActionStep,
): { readonly range: Pages; readonly leafPages: number } | undefined {
  if (step.do === 'map' && step.leaf !== undefined)
    return { range: rangeOf(step), leafPages: pagesOfText(step.leaf) };
  if (step.do !== 'entry' || step.is !== 'leaf') return undefined;
  const leafPages = span(step.level);
  return { range: entryRange(step), leafPages };
}

/** The pages that an entry stands for. */
export function entryRange({ iova, level }: { readonly iova: string; readonly level: number }): Pages {
  return around(pagesOfText(iova), span(level));
}

/** What hosts may hold in `range` of a domain. */
export function heldIn(state: GuestState, domain: string, range: Pages): readonly Pages[] {
  return state.tablesOf(domain)?.held(range) ?? [];
}

/** R5: a leaf that is partly in the interrupt range. */
export function crossesInterrupts(step: ActionStep): boolean {
  const written = newLeaves(step);
  if (written === undefined || written.leafPages === 1) return false;
  return overlap(written.range, INTERRUPTS) && !inside(written.range, INTERRUPTS);
}

/** Whether a range has interrupts in it. */
export function hasInterrupts(range: Pages): boolean {
  return overlap(range, INTERRUPTS);
}

/** R49: a second device of a requester is plugged while the tables have changed and the IOMMU was not told. */
export function plugsSecondUntold(step: ActionStep, state: GuestState): boolean {
  return step.do === 'plug' && state.isPlugged(step.who) && state.untoldTo(step.who) !== 'nothing';
}

/** An access of a device to the interrupt range is no DMA. */
export function accessesInterrupts(step: ActionStep): boolean {
  if (step.do !== 'dma') return false;
  const start = pagesOfText(step.iova);
  return hasInterrupts({ start, end: start + 1 });
}

/** The invalidation of a page that was accessed. */
export function forgetsAccessed(step: ActionStep, state: GuestState): readonly ActionStep[] {
  const domain = state.domainOf('edu');
  if (step.do !== 'dma' || domain === undefined || state.tablesOf(domain) === undefined) return [];
  return [{ do: 'invalidate', what: 'pages', domain, iova: step.iova, size: '4K' }];
}
