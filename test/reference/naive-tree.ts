/** A region tree searched page by page, as slowly and plainly as can be. @module */
import fc from 'fast-check';
import {
  AliasRegion,
  ContainerRegion,
  DeviceRegion,
  type MemoryRegion,
  RamRegion,
  SparseRamBlock,
} from '../../src/memory/index.ts';

/** A node as a test describes it. Numbers that name other nodes are taken modulo the nodes before this one. */
export interface NodeSpec {
  readonly kind: 'ram' | 'device' | 'alias' | 'container';
  readonly pages: number;
  readonly enabled: boolean;
  /** Alias: what it shows, and from where. */
  readonly target: number;
  readonly offset: number;
  /** Container: what is placed in it, in this order. */
  readonly children: readonly { readonly node: number; readonly start: number; readonly priority: number }[];
}

/** A node as the reference knows it. */
export interface NaiveNode {
  readonly region: MemoryRegion;
  readonly enabled: boolean;
  readonly pages: number;
  readonly alias: { readonly target: NaiveNode; readonly offset: number } | undefined;
  readonly children:
    | readonly { readonly node: NaiveNode; readonly start: number; readonly priority: number }[]
    | undefined;
}

const nodeSpec: fc.Arbitrary<NodeSpec> = fc.record({
  kind: fc.constantFrom('ram', 'ram', 'device', 'alias', 'container', 'container'),
  pages: fc.integer({ min: 1, max: 60 }),
  enabled: fc.nat(5).map((n) => n > 0),
  target: fc.nat(20),
  offset: fc.nat(60),
  children: fc.array(
    fc.record({ node: fc.nat(20), start: fc.nat(60), priority: fc.integer({ min: -1, max: 1 }) }),
    { maxLength: 5 },
  ),
});

/** Trees of up to ten nodes on some sixty pages, so that everything overlaps. The last node is a container. */
export const nodeSpecs: fc.Arbitrary<readonly NodeSpec[]> = fc
  .tuple(fc.array(nodeSpec, { maxLength: 9, size: 'max' }), nodeSpec)
  .map(([inner, root]) => [...inner, { ...root, kind: 'container', pages: 60, enabled: true }]);

/** What is seen at `page` of `node`: the terminal region and the page of it, or undefined. */
export function lookUp(node: NaiveNode, page: number): { region: MemoryRegion; page: number } | undefined {
  if (!node.enabled || page < 0 || page >= node.pages) return undefined;
  if (node.alias !== undefined) return lookUp(node.alias.target, page + node.alias.offset);
  if (node.children === undefined) return { region: node.region, page };
  const seen = node.children
    .map((child, order) => ({ ...child, order, found: lookUp(child.node, page - child.start) }))
    .filter(({ found }) => found !== undefined)
    .toSorted((a, b) => b.priority - a.priority || b.order - a.order);
  return seen[0]?.found;
}

/** Builds the tree twice: of regions, and for {@link lookUp}. The last node is the root. */
export function buildTree(specs: readonly NodeSpec[]): { root: MemoryRegion; naive: NaiveNode } {
  const nodes: NaiveNode[] = [];
  for (const [i, spec] of specs.entries()) nodes.push(buildNode(spec, `node${i}`, nodes));
  const naive = nodes.at(-1)!;
  return { root: naive.region, naive };
}

function buildNode(spec: NodeSpec, name: string, before: readonly NaiveNode[]): NaiveNode {
  const target = before[spec.target % before.length];
  const node = makeNode(spec, name, before, target);
  node.region.setEnabled(spec.enabled);
  return node;
}

function makeNode(
  spec: NodeSpec,
  name: string,
  before: readonly NaiveNode[],
  target: NaiveNode | undefined,
): NaiveNode {
  const { pages, enabled } = spec;
  const plain = { enabled, pages, alias: undefined, children: undefined };
  if (spec.kind === 'alias' && target !== undefined) {
    const offset = spec.offset % target.pages;
    const shown = Math.min(pages, target.pages - offset);
    const region = new AliasRegion(name, target.region, offset, shown);
    return { region, enabled, pages: shown, alias: { target, offset }, children: undefined };
  }
  if (spec.kind === 'container') {
    const region = new ContainerRegion(name, pages);
    const children: { node: NaiveNode; start: number; priority: number }[] = [];
    for (const { node: wanted, start, priority } of spec.children) {
      const node = before[wanted % before.length];
      if (node === undefined || children.some((child) => child.node === node)) continue;
      region.add(node.region, start, priority);
      children.push({ node, start, priority });
    }
    return { region, enabled, pages, alias: undefined, children };
  }
  const region =
    spec.kind === 'device'
      ? new DeviceRegion(name, pages, { read: () => true, write: () => true })
      : new RamRegion(name, new SparseRamBlock(pages));
  return { ...plain, region };
}
