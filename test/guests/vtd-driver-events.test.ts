import { describe, expect, it } from 'vitest';
import type { CaptureEvent, CaptureMapping } from '../../src/guests/capture-lines.ts';
import { eventsAsInTables, type PlayableEvent, GuestEventPlayer } from '../../src/guests/driver/events.ts';
import { Access, PAGES_END } from '../../src/memory/index.ts';
import { spec } from '../../src/models/vtd/index.ts';
import { done } from './driver-leaves.ts';
import { DriverMachine, NIC } from './vtd-driver-machine.ts';
import { refusalCode } from './driver-refusal.ts';

const MIB2 = 512;

interface Stage {
  readonly machine: DriverMachine;
  readonly player: GuestEventPlayer;
  readonly play: (...events: readonly PlayableEvent[]) => void;
  readonly leaves: () => string[];
}

function stage(options: { readonly deviceTarget?: number; readonly SSLPS?: number } = {}): Stage {
  const { deviceTarget, SSLPS = spec.SSLPS_2M | spec.SSLPS_1G } = options;
  const machine = new DriverMachine({ capability: { SSLPS } });
  done(machine.driver.boot({ mode: 'legacy' }));
  done(machine.driver.attachDevice(NIC, machine.driver.createDomain({ levels: 4 })));
  const player = new GuestEventPlayer(
    machine.driver,
    NIC,
    deviceTarget === undefined ? {} : { deviceTarget },
  );
  const play = (...events: readonly PlayableEvent[]): void => {
    for (const event of events) done(player.play(event));
  };
  machine.ear.take();
  return { machine, player, play, leaves: () => machine.leaves(NIC) };
}

const map = (
  iova: number,
  pages: number,
  target?: number,
  access: Access = Access.ReadWrite,
): PlayableEvent => ({
  op: 'map',
  iova,
  pages,
  target,
  access,
});
const unmap = (iova: number, pages: number): PlayableEvent => ({
  op: 'unmap',
  iova,
  pages,
  target: undefined,
  access: Access.None,
});

const event = (
  op: 'map' | 'unmap',
  iova: number,
  target?: number,
  access: Access = Access.ReadWrite,
): CaptureEvent => ({
  t: 0,
  op,
  iova,
  pages: 1,
  target,
  access,
});
const mapping = (iova: number, target: number, access: Access): CaptureMapping => ({
  iova,
  pages: 1,
  target,
  access,
});

describe('a map event', () => {
  it('becomes a leaf of exactly its size', () => {
    const { play, leaves } = stage();

    play(map(MIB2, MIB2, 0), map(3, 1, 7, Access.Read));

    expect(leaves()).toEqual(['3+1>7 r', '200+200>0 rw']);
  });

  it.each([
    ['is no leaf of any size', 3, spec.SSLPS_2M],
    ['the unit has no leaf for', MIB2, 0],
  ])('of a size that %s becomes several leaves', (_what, pages, SSLPS) => {
    const { play, leaves } = stage({ SSLPS });

    play(map(0, pages, 0));

    expect(leaves()).toHaveLength(pages);
  });

  it('of a leaf size that is not aligned becomes several leaves', () => {
    const { play, leaves } = stage();

    play(map(1, MIB2, 0));

    expect(leaves()).toHaveLength(MIB2);
  });

  it('that says what is mapped already changes nothing', () => {
    const { machine, play, leaves } = stage();
    play(map(4, 1, 8));
    machine.ear.take();

    play(map(4, 1, 8));

    expect(machine.ear.take()).toEqual([]);
    expect(leaves()).toEqual(['4+1>8 rw']);
  });

  it('takes the place of what is mapped otherwise', () => {
    const { play, leaves } = stage();
    play(map(0, MIB2, 0), map(MIB2, 1, 5));

    play(map(1, 1, 9), map(MIB2, 1, 5, Access.Read));

    expect(leaves()).toHaveLength(513);
    expect(leaves().slice(0, 3)).toEqual(['0+1>0 rw', '1+1>9 rw', '2+1>2 rw']);
    expect(leaves()[512]).toBe('200+1>5 r');
  });

  it('without a target goes where the options say, aligned to its size', () => {
    const { play, leaves } = stage({ deviceTarget: 0xfe001 });

    play(map(1, 1), map(MIB2, MIB2));

    expect(leaves()).toEqual(['1+1>fe001 rw', '200+200>fe200 rw']);
  });

  it('without a target is refused where they do not', async () => {
    const { player } = stage();

    expect(await refusalCode(() => player.play(map(1, 1)))).toBe('bad-argument');
  });
});

describe('an unmap event', () => {
  it('removes what it names and tells the unit of that', () => {
    const { machine, play, leaves } = stage();
    play(map(4, 1, 8), map(5, 1, 9));
    machine.ear.take();

    play(unmap(5, 1));

    expect(machine.ear.take()).toEqual(['iotlb domain 2 page 5 am 0 ih']);
    expect(leaves()).toEqual(['4+1>8 rw']);
  });

  it.each([
    ['all of the 64-bit address space', 0, PAGES_END],
    ['much more than is mapped', 2, 2 ** 30],
  ])('removes everything inside when it names %s', (_what, iova, pages) => {
    const { play, leaves } = stage();
    play(map(4, 1, 8), map(2 ** 18, 2 ** 18, 0));

    play(unmap(iova, pages));

    expect(leaves()).toEqual([]);
  });

  it.each([
    ['where nothing is', 5, 1],
    ['beyond the tables', 2 ** 40, 16],
  ])('%s leaves all as it is and tells nobody', (_where, iova, pages) => {
    const { machine, play, leaves } = stage();
    play(map(4, 1, 8));
    machine.ear.take();

    play(unmap(iova, pages));

    expect(machine.ear.take()).toEqual([]);
    expect(leaves()).toEqual(['4+1>8 rw']);
  });

  it('that cuts large leaves at both ends keeps what lies outside', () => {
    const { play, leaves } = stage();
    play(map(0, MIB2, MIB2), map(MIB2, MIB2, 4 * MIB2));

    play(unmap(1, 2 * MIB2 - 2));

    expect(leaves()).toEqual(['0+1>200 rw', '3ff+1>9ff rw']);
  });

  it('inside one large leaf keeps both sides', () => {
    const { play, leaves } = stage();
    play(map(0, 2 ** 18, 2 ** 18));

    play(unmap(MIB2, 2 ** 18 - 2 * MIB2));

    expect(leaves()).toEqual(['0+200>40000 rw', '3fe00+200>7fe00 rw']);
  });
});

describe('a player', () => {
  it.each([
    ['that is attached to nothing', false],
    ['that passes through', true],
  ])('is refused for a requester %s', async (_what, passThrough) => {
    const { driver } = new DriverMachine();
    done(driver.boot({ mode: 'legacy' }));
    if (passThrough) done(driver.attachDevice(NIC, driver.passThroughDomain()));

    expect(await refusalCode(() => new GuestEventPlayer(driver, NIC))).toBe('attachment');
  });
});

describe('events as the tables would tell them', () => {
  it('call the last map of a write-only leaf write-only, and no earlier one', () => {
    const events = [event('map', 1, 5), event('unmap', 1), event('map', 1, 5)];

    const restored = eventsAsInTables(events, [mapping(1, 5, Access.Write)]);

    expect(restored.map(({ access }) => access)).toEqual([Access.ReadWrite, Access.ReadWrite, Access.Write]);
  });

  it('know the address of a device that the recording left out', () => {
    const restored = eventsAsInTables([event('map', 1)], [mapping(1, 0xfe000, Access.ReadWrite)]);

    expect(restored).toEqual([event('map', 1, 0xfe000)]);
  });

  it.each([
    ['leads elsewhere', mapping(1, 6, Access.Write)],
    ['is read-only', mapping(1, 5, Access.Read)],
    ['is another one', mapping(2, 5, Access.Write)],
  ])('are left as they are when what the tables hold %s', (_what, held) => {
    const events = [event('map', 1, 5)];

    expect(eventsAsInTables(events, [held])).toEqual(events);
  });
});
