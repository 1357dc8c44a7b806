/** The memory of a stopped guest, put together from its files. @module */
import { type ElfCore, GuestFileError } from '../../guests/index.ts';
import { type GuestMemory, guestMemory } from '../../machine/index.ts';
import { formatPage, PAGE_SIZE, type PageRange, pageOf, SparseRamBlock } from '../../memory/index.ts';

/** Runs of RAM that one guest may have: far more than any machine, few enough to lay out in no time. */
const MAX_RAM_RUNS = 8_192;

/**
 * Guest memory with RAM at `ram` and the content of `core`, if there is one, in it. The core's pages are used, not copied.
 *
 * @param ram ascending, not overlapping
 * @param file what an error about `ram` names
 * @throws GuestFileError when the core has a page where no RAM is, or there are too many runs
 */
export function capturedMemory(
  ram: readonly PageRange[],
  core: ElfCore | undefined,
  file: string,
): GuestMemory {
  const runs = joinRanges(ram);
  if (runs.length > MAX_RAM_RUNS) {
    throw new GuestFileError({
      code: 'too-large',
      file,
      problem: `describes ${runs.length} separate runs of RAM, and ${MAX_RAM_RUNS} are the most that are read`,
      remedy: 'describe the RAM of the machine in fewer, larger runs',
    });
  }
  const blocks = runs.map((run) => ({ run, block: new SparseRamBlock(run.end - run.start) }));
  let at = 0;
  for (const { page, words } of core?.pages() ?? []) {
    // Both the pages and the runs ascend.
    while (at < blocks.length && blocks[at]!.run.end <= page) at++;
    const home = blocks[at];
    if (home === undefined || page < home.run.start) throw notRam(core?.file ?? file, page);
    home.block.setPage(page - home.run.start, words);
  }
  return guestMemory(blocks.map(({ run, block }) => ({ start: run.start, block })));
}

/** The memory that a core describes: everything in its segments, zeros that it left out included. */
export function ramOfCore(core: ElfCore): PageRange[] {
  const ranges = core.segments.map(({ paddr, memBytes }) => ({
    start: pageOf(paddr),
    end: Number((paddr + memBytes + BigInt(PAGE_SIZE) - 1n) >> 12n),
  }));
  return ranges.filter(({ start, end }) => start < end);
}

/** Neighbours as one run. */
function joinRanges(ranges: readonly PageRange[]): PageRange[] {
  const joined: PageRange[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && range.start <= last.end) {
      joined[joined.length - 1] = { start: last.start, end: Math.max(last.end, range.end) };
    } else {
      joined.push(range);
    }
  }
  return joined;
}

function notRam(file: string, page: number): GuestFileError {
  return new GuestFileError({
    code: 'capture',
    file,
    place: `page at ${formatPage(page)}`,
    problem: 'holds a page where capture.json says that there is no RAM',
    remedy: 'list this RAM under $.ram of capture.json, or record the capture again',
  });
}
