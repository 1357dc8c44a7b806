import { expect, test } from 'vitest';
import { GatedChannel } from '../../src/cli/serve/gated-channel.ts';
import type { Channel, ChannelListener } from '../../src/vfio-user/index.ts';

/** A channel that remembers what it was told. */
function watchedChannel(): { channel: Channel; calls: string[]; listener: () => ChannelListener } {
  const calls: string[] = [];
  let heard: ChannelListener | undefined;
  const channel: Channel = {
    passesDescriptors: true,
    queuedBytes: 7,
    start: (listener) => {
      heard = listener;
      calls.push('start');
    },
    send: () => void calls.push('send'),
    pause: () => void calls.push('pause'),
    resume: () => void calls.push('resume'),
    close: (discard) => void calls.push(`close ${discard}`),
  };
  return { channel, calls, listener: () => heard! };
}

const listener: ChannelListener = { received: () => {}, idle: () => {}, drained: () => {}, closed: () => {} };
const ignore = (): void => {};

test('rests while its reader or the gate wants it to', () => {
  const { channel, calls } = watchedChannel();
  const gate = new GatedChannel(channel, ignore);
  gate.start(listener);

  gate.setShut(true);
  gate.pause();
  gate.setShut(false);
  gate.resume();

  expect(calls).toEqual(['start', 'pause', 'resume']);
});

test('the gate outlasts the reader’s pause', () => {
  const { channel, calls } = watchedChannel();
  const gate = new GatedChannel(channel, ignore);
  gate.start(listener);

  gate.pause();
  gate.setShut(true);
  gate.resume();
  gate.setShut(false);

  expect(calls).toEqual(['start', 'pause', 'resume']);
});

test('shut before the start, it rests from the start', () => {
  const { channel, calls } = watchedChannel();
  const gate = new GatedChannel(channel, ignore);

  gate.setShut(true);
  gate.start(listener);

  expect(calls).toEqual(['start', 'pause']);
});

test('the end is told after the reader has heard of it', () => {
  const { channel, listener: inner } = watchedChannel();
  const order: string[] = [];
  const gate = new GatedChannel(channel, () => void order.push('gate'));
  gate.start({ ...listener, closed: (error) => void order.push(`reader ${error?.message}`) });

  inner().closed(new Error('lost'));

  expect(order).toEqual(['reader lost', 'gate']);
});

test('everything else is the channel’s', () => {
  const { channel, calls } = watchedChannel();
  const gate = new GatedChannel(channel, ignore);

  gate.send(new Uint8Array(1));
  gate.close(true);

  expect(calls).toEqual(['send', 'close true']);
  expect([gate.passesDescriptors, gate.queuedBytes]).toEqual([true, 7]);
});
