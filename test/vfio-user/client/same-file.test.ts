/** The extension by which mappings name the file of the last descriptor. */
import { afterEach, describe, expect, test } from 'vitest';
import { Command, dmaMapRequest, Errno } from '../../../src/vfio-user/wire/index.ts';
import { fakeDescriptor, openFakeDescriptors } from '../memory-channel.ts';
import { connected, errorOf, mapping, ram, type Rig, type RigOptions, settle, SharedBlock } from './rig.ts';

const AGREED = { viommu: { sameFile: true }, maxMsgFds: 16 };

afterEach(() => {
  expect(openFakeDescriptors()).toBe(0);
});

/** A client, and what came with each of its mappings: a descriptor's number, `same`, or nothing. */
async function watched(options: RigOptions = {}): Promise<Rig & { came: (number | string)[] }> {
  const came: (number | string)[] = [];
  const rig = await connected({
    capabilities: AGREED,
    ...options,
    answer: (command) => {
      if (command.command !== Command.DMA_MAP) return false;
      const decoded = dmaMapRequest.decode(command.payload);
      const same = decoded.ok && decoded.value.sameFile === true ? 'same' : 'nothing';
      came.push(command.descriptors[0]?.number ?? same);
      return options.answer?.(command) ?? false;
    },
  });
  return Object.assign(rig, { came });
}

/** Two blocks in files of their own. */
function blocks(): { one: SharedBlock; two: SharedBlock; release: () => void } {
  const [first, second] = [fakeDescriptor(7), fakeDescriptor(8)];
  return {
    one: new SharedBlock(0x100, first, 0x20_0000n),
    two: new SharedBlock(0x100, second),
    release: () => {
      first.release();
      second.release();
    },
  };
}

describe('when the server takes it, a mapping', () => {
  test('brings a descriptor only where it is not the last one', async () => {
    const { one, two, release } = blocks();
    const { client, server, came } = await watched();

    for (const [iova, block] of [one, one, one, two, two, one].entries()) {
      client.map(mapping(iova), { block, page: iova });
    }
    await client.barrier();

    expect(came).toEqual([7, 'same', 'same', 8, 'same', 7]);
    expect(server.mappings.map((text) => text.split(' -> ')[1])).toEqual([
      '200 3',
      '201 3',
      '202 3',
      '3 3',
      '4 3',
      '205 3',
    ]);
    for (let iova = 0; iova < 6; iova++) client.unmap(iova, 1);
    await client.barrier();
    release();
  });

  test('of other RAM brings nothing, and leaves the last descriptor what it was', async () => {
    const { one, release } = blocks();
    const { client, came } = await watched();

    client.map(mapping(0), { block: one, page: 0 });
    client.map(mapping(1), ram());
    client.map(mapping(2), { block: one, page: 2 });
    client.unmap(0, 1);
    client.unmap(2, 1);
    await client.barrier();

    expect(came).toEqual([7, 'nothing', 'same']);
    release();
  });

  test('that was refused has brought its descriptor all the same', async () => {
    const { one, release } = blocks();
    const { client, came } = await watched({ refuse: (operation) => (operation === 1 ? Errno.EINVAL : 0) });

    client.map(mapping(0), { block: one, page: 0 });
    await expect(client.barrier()).rejects.toThrow('EINVAL');
    client.map(mapping(0), { block: one, page: 0 });
    await client.barrier();

    expect(came).toEqual([7, 'same']);
    release();
  });

  test('brings its descriptor when it waited for room', async () => {
    const { one, two, release } = blocks();
    const { client, server, came } = await watched({
      held: true,
      capabilities: { ...AGREED, maxDmaMaps: 60_000 },
    });

    for (let i = 0; i < 60_000; i++) client.map(mapping(i), { block: i < 50_000 ? one : two, page: i % 256 });
    const barrier = client.barrier();
    await settle();
    server.held = false;
    server.answerHeld();
    await barrier;

    expect(came.filter((what) => what !== 'same')).toEqual([7, 8]);
    expect([came.length, came[50_000]]).toEqual([60_000, 8]);
    client.unmap(0, 1);
    client.unmap(50_000, 1);
    await client.barrier();
    release();
  });

  test('brings its descriptor again on another connection', async () => {
    const { one, release } = blocks();
    const { client, servers, came } = await watched();

    client.map(mapping(0), { block: one, page: 0 });
    client.unmap(0, 1);
    await client.barrier();
    await client.reopen();
    client.map(mapping(0), { block: one, page: 0 });
    client.unmap(0, 1);
    await client.barrier();

    expect(servers.length).toBe(2);
    expect(came).toEqual([7, 7]);
    release();
  });

  test('in a file that was closed is refused here, and leaves the last descriptor what it was', async () => {
    const { one, two } = blocks();
    const { client, came } = await watched();
    two.share.descriptor.release();

    client.map(mapping(0), { block: one, page: 0 });
    client.map(mapping(1), { block: two, page: 0 });
    client.map(mapping(2), { block: one, page: 0 });
    client.unmap(0, 1);
    client.unmap(2, 1);
    const refusal = await errorOf(() => client.barrier());

    expect(refusal.message).toContain('EBADF');
    expect(came).toEqual([7, 'same']);
    one.share.descriptor.release();
  });
});

describe('every mapping brings its descriptor', () => {
  test.each([
    ['that says nothing of it', { maxMsgFds: 16 }],
    ['that does not want it', { ...AGREED, viommu: { sameFile: false } }],
  ])('for a server %s', async (_what, capabilities) => {
    const { one, release } = blocks();
    const { client, came } = await watched({ capabilities });

    for (let iova = 0; iova < 3; iova++) client.map(mapping(iova), { block: one, page: iova });
    for (let iova = 0; iova < 3; iova++) client.unmap(iova, 1);
    await client.barrier();

    expect(came).toEqual([7, 7, 7]);
    release();
  });
});

test('nothing is named where no descriptors pass, whatever the server says', async () => {
  const { one, release } = blocks();
  const { client, came } = await watched({ pair: { descriptors: false } });

  for (let iova = 0; iova < 3; iova++) client.map(mapping(iova), { block: one, page: iova });
  await client.barrier();

  expect(came).toEqual(['nothing', 'nothing', 'nothing']);
  release();
});
