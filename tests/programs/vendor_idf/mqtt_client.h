/* What the examples use of esp-mqtt (ESP-IDF 5.5's component mqtt), include/mqtt_client.h, without the other fields. */
#pragma once
#include "esp_event.h"
typedef struct esp_mqtt_client *esp_mqtt_client_handle_t;
typedef enum { MQTT_EVENT_ANY = -1, MQTT_EVENT_ERROR = 0, MQTT_EVENT_CONNECTED, MQTT_EVENT_DISCONNECTED } esp_mqtt_event_id_t;
typedef struct {
    struct { struct { const char *uri; } address; } broker;
    struct { const char *username; struct { const char *password; } authentication; } credentials;
    struct { struct { const char *topic, *msg; int msg_len, qos, retain; } last_will; int keepalive; } session;
} esp_mqtt_client_config_t;
esp_mqtt_client_handle_t esp_mqtt_client_init(const esp_mqtt_client_config_t *config);
esp_err_t esp_mqtt_client_start(esp_mqtt_client_handle_t client);
esp_err_t esp_mqtt_client_register_event(esp_mqtt_client_handle_t client, esp_mqtt_event_id_t event, esp_event_handler_t event_handler, void *event_handler_arg);
int esp_mqtt_client_enqueue(esp_mqtt_client_handle_t client, const char *topic, const char *data, int len, int qos, int retain, bool store);
