/* What the examples use of Apache NimBLE as ESP-IDF 5.5 has it: nimble/host/include/host/ble_hs.h, ble_gap.h, ble_gatt.h,
 * ble_uuid.h, ble_hs_adv.h and porting/nimble/include/os/os_mbuf.h, without the other fields of the structures. */
#pragma once
#include "esp_err.h"
typedef struct { uint8_t type; } ble_uuid_t;
typedef struct { ble_uuid_t u; uint8_t value[16]; } ble_uuid128_t;
#define BLE_UUID128_INIT(uuid128...) { .u = { 128 }, .value = { uuid128 } }
struct os_mbuf;
int os_mbuf_append(struct os_mbuf *om, const void *data, uint16_t len);
struct ble_gatt_access_ctxt { uint8_t op; struct os_mbuf *om; };
typedef int ble_gatt_access_fn(uint16_t conn_handle, uint16_t attr_handle, struct ble_gatt_access_ctxt *ctxt, void *arg);
typedef uint32_t ble_gatt_chr_flags;
struct ble_gatt_dsc_def;
struct ble_gatt_chr_def {
    const ble_uuid_t *uuid;
    ble_gatt_access_fn *access_cb;
    void *arg;
    struct ble_gatt_dsc_def *descriptors;
    ble_gatt_chr_flags flags;
    uint8_t min_key_size;
    uint16_t *val_handle;
};
struct ble_gatt_svc_def {
    uint8_t type;
    const ble_uuid_t *uuid;
    const struct ble_gatt_svc_def **includes;
    const struct ble_gatt_chr_def *characteristics;
};
#define BLE_GATT_SVC_TYPE_PRIMARY 1
#define BLE_GATT_CHR_F_READ 0x0002
#define BLE_GATT_CHR_F_NOTIFY 0x0010
#define BLE_ATT_ERR_INSUFFICIENT_RES 0x11
int ble_gatts_count_cfg(const struct ble_gatt_svc_def *defs);
int ble_gatts_add_svcs(const struct ble_gatt_svc_def *svcs);
void ble_gatts_chr_updated(uint16_t chr_val_handle);
struct ble_gap_event { uint8_t type; union { struct { int status; uint16_t conn_handle; } connect; }; };
#define BLE_GAP_EVENT_CONNECT 0
#define BLE_GAP_EVENT_DISCONNECT 1
#define BLE_GAP_EVENT_ADV_COMPLETE 9
typedef int ble_gap_event_fn(struct ble_gap_event *event, void *arg);
struct ble_gap_adv_params { uint8_t conn_mode, disc_mode; uint16_t itvl_min, itvl_max; uint8_t channel_map, filter_policy, high_duty_cycle : 1; };
#define BLE_GAP_CONN_MODE_UND 2
#define BLE_GAP_DISC_MODE_GEN 2
#define BLE_HS_FOREVER INT32_MAX
#define BLE_HS_ADV_F_DISC_GEN 0x02
#define BLE_HS_ADV_F_BREDR_UNSUP 0x04
struct ble_hs_adv_fields {
    uint8_t flags;
    const ble_uuid128_t *uuids128;
    uint8_t num_uuids128;
    unsigned uuids128_is_complete : 1;
    const uint8_t *name;
    uint8_t name_len;
    unsigned name_is_complete : 1;
};
typedef struct { uint8_t type; uint8_t val[6]; } ble_addr_t;
int ble_gap_adv_set_fields(const struct ble_hs_adv_fields *rsp_fields);
int ble_gap_adv_start(uint8_t own_addr_type, const ble_addr_t *direct_addr, int32_t duration_ms, const struct ble_gap_adv_params *adv_params, ble_gap_event_fn *cb, void *cb_arg);
int ble_hs_id_infer_auto(int privacy, uint8_t *out_addr_type);
typedef void ble_hs_sync_fn(void);
struct ble_hs_cfg { ble_hs_sync_fn *sync_cb; };
extern struct ble_hs_cfg ble_hs_cfg;
