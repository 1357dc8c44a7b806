/** A connection with a peer that does not keep to the rules, and two connections with damage between them. */
import { MESSAGES, releaseAll } from '../../../src/vfio-user/index.ts';
import { createChannelPair, type MemoryChannel, openFakeDescriptors } from '../memory-channel.ts';
import type { FuzzTally } from './fuzz-finding.ts';
import { RECIPES, type Recipe } from './fuzz-messages.ts';
import { damagePayload } from './fuzz-mutations.ts';
import { HostilePeer } from './fuzz-peer.ts';
import type { Random } from './fuzz-random.ts';
import { FuzzSubject, TIMEOUT } from './fuzz-subject.ts';

/** Microtasks within which everything in memory is delivered and answered. */
const TURNS = 50;

const OF_SIDE: Readonly<Record<'client' | 'server', readonly Recipe[]>> = {
  client: RECIPES.filter(({ command }) => MESSAGES[command]!.from === 'client'),
  server: RECIPES.filter(({ command }) => MESSAGES[command]!.from === 'server'),
};

async function turns(count = TURNS): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** A connection whose peer, the `side` given, sends damaged messages and damaged answers. */
export async function fuzzPeer(random: Random, side: 'client' | 'server', tally: FuzzTally): Promise<void> {
  const split = random.pick([1, 7, 16, 48, 1000, 65_536]);
  const [near, far] = createChannelPair({
    descriptors: !random.chance(1, 5),
    split: () => (split === 48 ? 1 + random.below(48) : split),
  });
  const sent: Uint8Array[] = [];
  const subject = new FuzzSubject(random, near, sent, tally);
  const peer = new HostilePeer(random, far, sent, tally);
  if (random.chance(1, 8)) far.pause();
  const last = 20 + random.below(100);
  for (let i = 0; i < last && !far.over; i++) {
    peer.sendCommand(random.chance(9, 10) ? OF_SIDE[side] : RECIPES);
    if (random.chance(1, 4)) await turns(1 + random.below(8));
    if (random.chance(1, 8)) subject.owner.request();
    if (random.chance(1, 8)) subject.owner.answerSome();
    if (random.chance(1, 40)) subject.timers?.advance(TIMEOUT);
    if (random.chance(1, 40)) await settled(subject);
  }
  await settled(subject);
  end(random, far, subject);
  await turns();
  far.close(true);
  await turns();
  subject.finish(tally);
  if (peer.wrong !== undefined) throw subject.finding(peer.wrong);
  checkDescriptors(subject);
}

/** Two connections that keep to the rules, and a line between them that damages what it carries. */
export async function fuzzPair(random: Random, tally: FuzzTally): Promise<void> {
  const split = random.pick([1, 16, 100, 65_536]);
  const [near, line] = createChannelPair({ split });
  const [otherLine, other] = createChannelPair({ split });
  const sent: Uint8Array[] = [];
  const subject = new FuzzSubject(random, near, sent, tally);
  const otherSubject = new FuzzSubject(random, other, sent, tally);
  const damage = random.pick([0, 0, 3, 100]);
  carry(random, line, otherLine, damage, sent);
  carry(random, otherLine, line, damage, sent);
  for (let i = 20 + random.below(40); i > 0; i--) {
    (random.bool() ? subject : otherSubject).owner.request();
    tally.messages++;
    if (random.chance(1, 4)) await turns(1 + random.below(8));
    if (random.chance(1, 4)) subject.owner.answerSome();
    if (random.chance(1, 4)) otherSubject.owner.answerSome();
  }
  await settled(subject);
  await settled(otherSubject);
  end(random, other, subject);
  await turns();
  for (const channel of [line, otherLine, other, near]) channel.close(true);
  await turns();
  subject.finish(tally);
  otherSubject.finish(tally);
  checkDescriptors(subject);
}

async function settled(subject: FuzzSubject): Promise<void> {
  await turns();
  subject.check();
}

/** Ends it, from either end, in order or not. */
function end(random: Random, far: MemoryChannel, subject: FuzzSubject): void {
  switch (random.below(5)) {
    case 0:
      far.close();
      break;
    case 1:
      far.close(true);
      break;
    case 2:
      subject.near.fail(new Error('the system gave up'));
      break;
    case 3:
      subject.connection.close('enough');
      break;
    default:
      far.fail(new Error('the peer’s system gave up'));
  }
}

function checkDescriptors(subject: FuzzSubject): void {
  const open = openFakeDescriptors();
  if (open !== 0) throw subject.finding(`${open} descriptors were not released`);
}

/** Carries what `from` receives to `to`, damaged in `damage` of 1,000 deliveries. */
function carry(
  random: Random,
  from: MemoryChannel,
  to: MemoryChannel,
  damage: number,
  sent: Uint8Array[],
): void {
  from.start({
    received: (bytes, descriptors) => {
      let carried: Uint8Array = bytes.slice();
      if (random.chance(damage, 1000)) carried = damagePayload(random, carried);
      sent.push(carried);
      to.send(carried, carried.length > 0 ? descriptors : []);
      releaseAll(descriptors);
    },
    idle: () => {},
    drained: () => {},
    closed: () => to.close(),
  });
}
