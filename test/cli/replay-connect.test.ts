/** `viommu replay --connect` into our own server, over a real socket. @module */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { holdable } from '../../src/cli/replay/holdable.ts';
import { replayCommand } from '../../src/cli/replay.ts';
import type { LiveWorld } from '../../src/cli/serve/live-world.ts';
import { systemClock } from '../../src/cli/serve/clock.ts';
import { openCapture } from '../../src/cli/source/source.ts';
import type { CommandIo } from '../../src/cli/terminal/io.ts';
import { probeDevice } from '../../src/devices/index.ts';
import { readCapture, shippedCaptures } from '../../src/guests/index.ts';
import { connect, linuxPlatform, listen, type SocketListener } from '../../src/linux/index.ts';
import { addressOf, bytesOf, type Access } from '../../src/memory/index.ts';
import {
  type Channel,
  type DmaMapping,
  type ServerLimits,
  VfioUserClient,
  VfioUserServer,
} from '../../src/vfio-user/index.ts';
import { jsonLines, linesOf, viommu } from './console.ts';

const FOLDERS = await shippedCaptures();

function folderOf(capture: string): string {
  return FOLDERS.find((folder) => basename(folder) === capture) ?? capture;
}

let folder: string;
let path: string;
let listener: SocketListener | undefined;
let server: VfioUserServer | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viommu-'));
  path = join(folder, 'device.sock');
});

afterEach(async () => {
  await listener?.close();
  await server?.close();
  listener = undefined;
  server = undefined;
  rmSync(folder, { recursive: true });
});

/** Operations that a server carried out, and those that it refused. */
interface Told {
  maps: number;
  unmaps: number;
  refused: number;
}

/** Starts our server at `path`, as strict as libvfio-user, and counts what it is told. It dies after so many maps. */
async function serve(limits: Partial<ServerLimits> = {}, dieAfter = Infinity): Promise<Told> {
  const { files, timers } = linuxPlatform();
  const told = { maps: 0, unmaps: 0, refused: 0 };
  const channels: Channel[] = [];
  const probe = new VfioUserServer({
    device: probeDevice(),
    ...(files === undefined ? {} : { files }),
    timers,
    unmap: 'exact',
    limits,
    events: {
      mapped: ({ result }) => {
        if (result === 'ok') told.maps++;
        else told.refused++;
        if (told.maps === dieAfter) for (const channel of channels) channel.close(true);
      },
      unmapped: ({ result }) => void (result === 'ok' ? told.unmaps++ : told.refused++),
    },
  });
  server = probe;
  listener = await listen(path, (channel) => {
    channels.push(channel);
    probe.accept(channel);
  });
  return told;
}

interface Held {
  readonly iova: bigint;
  readonly size: bigint;
  readonly offset: bigint;
  readonly access: Access;
}

/** What the server of this test holds. */
function ledger(): Held[] {
  return [...(server?.memory.mappings() ?? [])].map(({ iova, size, offset, access }: DmaMapping) => ({
    iova,
    size,
    offset,
    access,
  }));
}

/** What a capture says that its guest mapped in the end, with offsets from the begin of each run of RAM. */
async function recorded(capture: string): Promise<Held[]> {
  const open = await openCapture(folderOf(capture), { guestStopped: true });
  const recording = await readCapture(folderOf(capture));
  const requester = recording.eventsRequester ?? recording.requesters[0] ?? '';
  const listing = (await recording.finalMappings()) ?? (await recording.mappings(requester)) ?? [];
  return [...holdable(listing, open.memory.view, open.unit.interrupts?.range)].map(
    ({ iova, pages, target, access }) => {
      const section = open.memory.view.find(target);
      const page = section === undefined ? target : target - section.start + section.offset;
      return { iova: addressOf(iova), size: bytesOf(pages), offset: addressOf(page), access };
    },
  );
}

interface HeldRun {
  readonly held: Held[];
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** Runs the command with --hold, looks at the server's ledger while it holds, and ends it by `end`. */
async function holding(
  argv: readonly string[],
  end: 'SIGINT' | 'SIGTERM' | 'line' | 'server',
): Promise<HeldRun> {
  const run = { out: '', err: '', held: [] as Held[] };
  const io: CommandIo = {
    out: (text) => {
      run.out += text;
      return Promise.resolve();
    },
    giveUp: () => {},
    err: (text) => {
      run.err += text;
    },
    outIsTerminal: false,
    errIsTerminal: false,
    columns: undefined,
    colours: false,
  };
  const hearers = new Set<string>();
  const looked = (): void => {
    run.held = ledger();
  };
  const world: LiveWorld = {
    platform: linuxPlatform(),
    listen,
    connect: (at) => connect(at),
    clock: systemClock,
    controls: {
      onSignal: (signal, hear) => {
        hearers.add(signal);
        if (signal === end) {
          setImmediate(() => {
            looked();
            hear();
          });
        }
        return () => void hearers.delete(signal);
      },
      onLine: (hear) => {
        hearers.add('line');
        if (end === 'line') {
          setImmediate(() => {
            looked();
            void hear('');
          });
        }
        if (end === 'server') void server?.close();
        return () => void hearers.delete('line');
      },
    },
  };
  const session = { io, exitCode: 0 as const };
  await replayCommand(session, undefined, world).parseAsync(argv, { from: 'user' });
  expect([...hearers]).toEqual([]);
  return { ...run, code: session.exitCode };
}

describe.each(['vtd-legacy-e1000', 'vtd-sm-first-stage', 'vtd-sm-second-stage', 'vtd-vfio-mix'])(
  '%s',
  (capture) => {
    test('ends in the server as it was recorded', async () => {
      const told = await serve();

      const { held, out, code } = await holding([folderOf(capture), '--connect', path, '--hold'], 'SIGINT');

      expect(held).toEqual(await recorded(capture));
      expect(linesOf(out)[0]).toBe(`${capture}: equal`);
      expect(linesOf(out)[2]).toContain(`onto the server at ${path} with pages of 4 KiB`);
      expect({ code, refused: told.refused, left: ledger() }).toEqual({ code: 0, refused: 0, left: [] });
    });
  },
);

test('without --hold everything goes from the server when the command ends', async () => {
  const told = await serve();

  const { code, out, err } = await viommu(['replay', folderOf('vtd-vfio-mix'), '--connect', path, '--json']);

  expect({ code, err }).toEqual({ code: 0, err: '' });
  expect(jsonLines(out)).toEqual([
    {
      capture: 'vtd-vfio-mix',
      requester: '02:00.0',
      replayed: 17_809,
      matchesQemu: true,
      eventsPlayed: 0,
      finalMappings: 17_809,
      finalEqual: true,
      equal: true,
    },
  ]);
  expect(told).toEqual({ maps: 17_809, unmaps: 0, refused: 0 });
});

test('several captures are replayed one after the other, each onto an empty server', async () => {
  const told = await serve();
  const folders = ['vtd-sm-first-stage', 'vtd-vfio-mix'].map(folderOf);

  const { code, out } = await viommu(['replay', ...folders, '--connect', path]);

  expect(code).toBe(0);
  expect(linesOf(out).at(-1)).toBe('2 captures: all equal');
  expect(told).toEqual({ maps: 265 + 17_809, unmaps: 0, refused: 0 });
});

test('a server that holds fewer mappings refuses the plug as a whole, and is left empty', async () => {
  const told = await serve({ maxMappings: 100 });

  const { code, out } = await viommu(['replay', folderOf('vtd-legacy-e1000'), '--connect', path]);

  expect(code).toBe(1);
  expect(linesOf(out)[0]).toBe('vtd-legacy-e1000: the plug was refused');
  expect(out).toMatch(/one more than the 100 that|ENOSPC: the server has no room for it/);
  expect(told.maps).toBe(told.unmaps);
});

test.each([
  ['the replay', 'vtd-vfio-mix', 1000, 'the plug was refused'],
  ['the events', 'vtd-legacy-e1000', 1000, 'different'],
])('a server that dies during %s is told, and the command ends', async (_, capture, maps, verdict) => {
  await serve({}, maps);

  const { code, out } = await viommu(['replay', folderOf(capture), '--connect', path]);

  expect(code).toBe(1);
  expect(linesOf(out)[0]).toBe(`${capture}: ${verdict}`);
  expect(out).toContain(`host ${path} is lost (${path} closed the connection`);
});

describe('--hold', () => {
  const capture = folderOf('vtd-sm-first-stage');

  test.each(['SIGTERM', 'line'] as const)('is ended by %s', async (end) => {
    await serve();

    const { held, err, code } = await holding([capture, '--connect', path, '--hold'], end);

    expect(held).toHaveLength(265);
    expect(err).toBe(
      `viommu: ${path} keeps the mappings until you press Enter or Ctrl-C; look at them there\n`,
    );
    expect(code).toBe(0);
  });

  test('is ended by the end of the server, which is told', async () => {
    await serve();

    const { err } = await holding([capture, '--connect', path, '--hold'], 'server');

    expect(linesOf(err).at(-1)).toBe(`viommu: ${path} closed the connection`);
  });

  test('needs a server', async () => {
    const { code, err } = await viommu(['replay', capture, '--hold']);

    expect(code).toBe(2);
    expect(err).toBe('viommu: --hold keeps a server connected; name one with --connect PATH\n');
  });

  test('is for one capture', async () => {
    const { code, err } = await viommu(['replay', '--connect', path, '--hold']);

    expect(code).toBe(2);
    expect(err).toBe(
      `viommu: --hold is for one capture, not for ${FOLDERS.length}; name the folder of one\n`,
    );
  });
});

describe('no server', () => {
  test('at the path is told with what to do', async () => {
    const { code, out, err } = await viommu(['replay', folderOf('vtd-sm-first-stage'), '--connect', path]);

    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toBe(`viommu: ${path}: there is no such socket; start the server first, or check the path\n`);
  });

  test('that is free is told, too', async () => {
    await serve();
    const other = await VfioUserClient.connect({ open: () => connect(path) });

    const { code, err } = await viommu(['replay', folderOf('vtd-sm-first-stage'), '--connect', path]);
    await other.close();

    expect(code).toBe(2);
    expect(err).toBe(
      `viommu: ${path} refused VERSION with EBUSY: it serves another client; end that one first\n`,
    );
  });
});

test.each([
  ['--host', 'iommufd'],
  ['--host-page-size', '64K'],
])('%s says what a server says itself, so it is refused with --connect', async (option, value) => {
  const { code, err } = await viommu(['replay', 'a', '--connect', path, option, value]);

  expect(code).toBe(2);
  expect(err).toContain("option '--connect <PATH>' cannot be used with option");
});
