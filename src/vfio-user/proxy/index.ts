/** A proxy between a VMM and a vfio-user server that holds unmaps to the specification's words. @module */
export { DEFAULT_PROXY_LIMITS, type ProxyLimits } from './limits.ts';
export type { PassedMessage, ProxyDmaEvent, ProxyEnd, ProxyEvents } from './events.ts';
export type { ProxyMapping } from './mappings.ts';
export { VfioUserProxy, type VfioUserProxyOptions } from './proxy.ts';
