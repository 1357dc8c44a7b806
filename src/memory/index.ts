/** What a guest-physical address means: pages, RAM, the region tree, its flat view, address spaces, listeners, DMA. @module */
export * from './access.ts';
export * from './address-space.ts';
export * from './attempt.ts';
export * from './dma.ts';
export * from './flat-view.ts';
export * from './memory-listener.ts';
export * from './observer.ts';
export * from './pages.ts';
export * from './ram-block.ts';
export * from './region.ts';
export * from './terminal-regions.ts';
export * from './topology.ts';
export * from './translating-region.ts';
