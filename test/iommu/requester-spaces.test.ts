import { describe, expect, it } from 'vitest';
import { InvalidationBatch, RequesterSpaces, type RequesterView } from '../../src/iommu/index.ts';
import { ALL_PAGES } from '../../src/memory/index.ts';
import { ListRegion } from '../support/list-region.ts';
import { ramOf, smallSpace } from '../support/small-space.ts';
import { StrictSink } from '../support/strict-sink.ts';

const DEVICE = 0x100;

/** One requester of an IOMMU whose index 5 belongs to domain 2 and all else to domain 1. */
function world(hasPasids: boolean) {
  const { root, space } = smallSpace();
  root.add(ramOf('RAM', 100), 0);
  const region = new ListRegion(64, space);
  const view: RequesterView = {
    requester: DEVICE,
    space,
    region,
    refresh: () => undefined,
    domainOf: (index) => (index === 5 ? 2 : 1),
    isNested: () => false,
    dispose: () => undefined,
  };
  const spaces = new RequesterSpaces(
    { name: 'list', memory: space, hasPasids, isTranslating: () => true, make: () => view },
    undefined,
  );
  spaces.get(DEVICE);
  return { region, spaces };
}

/** Two sinks for the index, which is followed from now on, and for requests without PASID. */
function followed(region: ListRegion) {
  const plain = new StrictSink({ start: 0, end: 64 });
  const pasid = new StrictSink({ start: 0, end: 64 }, 5);
  region.registerNotifier(plain);
  region.registerNotifier(pasid);
  return { plain, pasid };
}

describe('an invalidation of a domain', () => {
  it('is followed for the index that belongs to it, and for no other', () => {
    const { region, spaces } = world(true);
    const { plain, pasid } = followed(region);
    // What an index belongs to is learnt when it is first looked at.
    const structures = new InvalidationBatch();
    structures.everyStructure = true;
    void spaces.apply(structures);
    region.map(1, 1, 10);
    const batch = new InvalidationBatch();
    batch.domains.add(2);

    void spaces.apply(batch);

    expect(pasid.held).toHaveLength(1);
    expect(plain.held).toHaveLength(0);
  });

  it('is followed for requests without PASID alone where there are no others', () => {
    const { region, spaces } = world(false);
    const { plain, pasid } = followed(region);
    region.map(1, 1, 10);
    const batch = new InvalidationBatch();
    batch.addPages(1, ALL_PAGES);

    void spaces.apply(batch);

    expect(plain.held).toHaveLength(1);
    expect(pasid.held).toHaveLength(0);
  });
});

it('there is no requester ID of more than 16 bits', () => {
  const { spaces } = world(false);

  expect(() => spaces.get(0x1_0000)).toThrow('65536 is no requester ID');
});
