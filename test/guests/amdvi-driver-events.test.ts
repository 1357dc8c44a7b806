import { describe, expect, it } from 'vitest';
import { GuestEventPlayer, type PlayableEvent, targetsOf } from '../../src/guests/driver/events.ts';
import { Access, PAGES_END } from '../../src/memory/index.ts';
import { AmdviDriverMachine, DEVICE_TABLE_PAGES as deviceTablePages, NIC } from './amdvi-driver-machine.ts';
import { done } from './driver-leaves.ts';

interface Stage {
  readonly machine: AmdviDriverMachine;
  readonly play: (...events: readonly PlayableEvent[]) => void;
  readonly leaves: () => string[];
}

function stage(deviceTarget?: number): Stage {
  const machine = new AmdviDriverMachine();
  done(machine.driver.boot({ deviceTablePages }));
  done(machine.driver.attachDevice(NIC, machine.driver.createDomain({ mode: 3 })));
  const player = new GuestEventPlayer(
    machine.driver,
    NIC,
    deviceTarget === undefined ? {} : { deviceTarget },
  );
  const play = (...events: readonly PlayableEvent[]): void => {
    for (const event of events) done(player.play(event));
  };
  return { machine, play, leaves: () => machine.leaves(NIC) };
}

const map = (iova: number, pages: number, target?: number): PlayableEvent => ({
  op: 'map',
  iova,
  pages,
  target,
  access: Access.ReadWrite,
});
const unmap = (iova: number, pages: number): PlayableEvent => ({
  op: 'unmap',
  iova,
  pages,
  target: undefined,
  access: Access.None,
});

describe('events of an AMD-Vi guest', () => {
  it('become leaves of exactly their sizes', () => {
    const { play, leaves } = stage();

    play(map(8, 2, 0x10), map(10, 1, 0x12), map(11, 1, 0x13), map(0x200, 0x100, 0));

    expect(leaves()).toEqual(['8+2>10 rw', 'a+1>12 rw', 'b+1>13 rw', '200+100>0 rw']);
  });

  it('of a requester that passes through become the largest leaves that fit', () => {
    const { play, leaves } = stage();

    play(map(0, 0xa0, 0), map(0x100, 0x1ff00, 0x100));

    expect(leaves().slice(0, 4)).toEqual(['0+80>0 rw', '80+20>80 rw', '100+100>100 rw', '200+200>200 rw']);
    expect(leaves()).toHaveLength(11);
  });

  it('that map no RAM lead where they are told to', () => {
    const { play, leaves } = stage(0x20_0001);

    play(map(0xfd000, 0x1000), map(0xfffc0, 0x40));

    expect(leaves()).toEqual(['fd000+1000>201000 rw', 'fffc0+40>200040 rw']);
  });

  it('that unmap in oversize pieces remove all that lies inside', () => {
    const { play, leaves } = stage();
    play(map(8, 2, 0x10), map(0x2_0000, 0x100, 0));

    play(
      unmap(2 ** 51, 2 ** 51),
      unmap(0, 0x8_0000),
      unmap(0x8_0000, 0x4_0000),
      unmap(0x10_0000, PAGES_END - 0x10_0000),
    );

    expect(leaves()).toEqual([]);
  });

  it('that cut a sized leaf keep what lies outside', () => {
    const { play, leaves } = stage();
    play(map(0x10, 0x10, 0x40));

    play(unmap(0x14, 4));

    expect(leaves()).toEqual(['10+4>40 rw', '18+8>48 rw']);
  });
});

describe('the pages that events lead to', () => {
  it('are not those of a requester that passes through', () => {
    expect(targetsOf([map(0, 0x1000, 0), map(8, 2, 0x10), map(9, 1)])).toEqual([{ start: 0x10, end: 0x12 }]);
  });
});
