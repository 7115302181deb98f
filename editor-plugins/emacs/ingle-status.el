;;; ingle-status.el --- The daemon, its models, the mode line  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns what the server tells of the daemon, how the mode line says it, and
;; the commands for the daemon, its models and pauses.

;;; Code:

(require 'cl-lib)
(require 'ingle-settings)

(declare-function ingle--command "ingle-connection")
(declare-function ingle--connection "ingle-connection")
(declare-function ingle--fact "ingle-connection")
(declare-function ingle--key-of "ingle-connection")
(declare-function ingle--obtain "ingle-connection")
(declare-function ingle--set-fact "ingle-connection")
(defvar ingle--failure)
(defvar ingle--state)
(defvar ingle-menu-map)

(defface ingle-lighter-problem
  '((t :inherit warning))
  "Face of the mode line's lighter when something is wrong."
  :group 'ingle)

;;;; The status

(defun ingle-status--receive (connection status)
  "Remember STATUS, which CONNECTION told."
  (ingle--set-fact connection :status (ingle-status--checked status))
  (force-mode-line-update t))

(defun ingle-status--checked (status)
  "STATUS without what has no right type: the mode line has to bear it."
  (and (proper-list-p status)
       (cl-loop for (key predicate) in '((:state stringp) (:text stringp) (:model stringp)
                                         (:detail stringp) (:effort stringp)
                                         (:device stringp) (:progress numberp)
                                         (:enabled symbolp))
                for value = (plist-get status key)
                if (funcall predicate value)
                append (list key value))))

(defun ingle--status ()
  "The status of this buffer's connection, a plist; nil while unknown."
  (let ((connection (and (featurep 'ingle-connection) (ingle--connection))))
    (and connection (ingle--fact connection :status))))

(defun ingle--status-text ()
  "One line about how things are."
  (let ((status (ingle--status)))
    (cond (status
           (let ((detail (or (plist-get status :detail) "")))
             (concat (plist-get status :text)
                     (unless (string-empty-p detail) (concat ": " detail)))))
          ((eq (bound-and-true-p ingle--state) 'failed) ingle--failure)
          ((eq (bound-and-true-p ingle--state) 'starting) "ingle-lsp is starting")
          (t "ingle-lsp starts when it is needed"))))

(defun ingle--problem-p ()
  "Whether something is wrong that the user should know of."
  (or (member (plist-get (ingle--status) :state) '("down" "failed" "incompatible"))
      (eq (bound-and-true-p ingle--state) 'failed)))

(defun ingle--lighter-text ()
  "The mode line's word for how things are."
  (let* ((status (ingle--status))
         (state (plist-get status :state))
         (progress (plist-get status :progress)))
    (concat "ingle"
            (cond ((equal state "down") ":down")
                  ((ingle--problem-p) "!")
                  ((eq (plist-get status :enabled) :json-false) ":off")
                  ((and (equal state "loading") progress)
                   (format ":%d%%" (round (* 100 progress))))
                  ((member state '("loading" "starting")) "…")
                  ((equal state "busy") "*")
                  (t "")))))

(defun ingle--lighter ()
  "The mode line's construct for `ingle-mode'."
  `(" " (:propertize ,(string-replace "%" "%%" (ingle--lighter-text))
                     ,@(and (ingle--problem-p) '(face ingle-lighter-problem))
                     mouse-face mode-line-highlight
                     help-echo ,(concat "ingle: " (ingle--status-text)
                                        "\nmouse-1: menu")
                     local-map (keymap (mode-line
                                        keymap (mouse-1 . ingle-mode-line-menu))))))

(defun ingle-mode-line-menu (event)
  "Show ingle's menu at EVENT."
  (interactive "e")
  (popup-menu ingle-menu-map event))

(defun ingle-status ()
  "Say how ingle-lsp, the daemon and the model are."
  (interactive)
  (ingle--obtain
   (lambda (connection)
     (ingle--command connection "ingle.status" nil
                     :then (lambda (status)
                             (ingle-status--receive connection status)
                             (ingle--say "%s" (ingle--status-text)))))))

;;;; The daemon

(defun ingle--order (name argument done)
  "Have the server run command NAME with ARGUMENT, then say DONE."
  (ingle--obtain
   (lambda (connection)
     (ingle--command connection name argument
                     :then (lambda (_result) (ingle--say "%s" done))))))

(defun ingle-start-daemon ()
  "Start the daemon."
  (interactive)
  (ingle--order "ingle.startDaemon" nil "the daemon runs"))

(defun ingle-pause (minutes)
  "Suggest nothing for MINUTES, the numeric prefix argument.
Without one, until `ingle-resume'."
  (interactive (list (and current-prefix-arg (prefix-numeric-value current-prefix-arg))))
  (ingle--order "ingle.pause" (and minutes (list :minutes minutes))
                (if minutes
                    (format "no suggestions for %d minutes" minutes)
                  (format "no suggestions until %s" (ingle--key-of 'ingle-resume)))))

(defun ingle-resume ()
  "Suggest again after `ingle-pause'."
  (interactive)
  (ingle--order "ingle.resume" nil "suggestions are back"))

;;;; Models

(defun ingle--model-label (model)
  "A line for MODEL in a list to choose from."
  (let ((reason (or (plist-get model :reason) "")))
    (concat (plist-get model :description)
            (cond ((eq (plist-get model :resident) t) " (resident)")
                  ((not (eq (plist-get model :installed) t)) " (not installed)"))
            (unless (string-empty-p reason) (concat ": " reason)))))

(defun ingle--read-model (prompt models)
  "Ask for one of MODELS with PROMPT; return its name."
  (let* ((annotations (mapcar (lambda (model)
                                (cons (plist-get model :name) (ingle--model-label model)))
                              models))
         (completion-extra-properties
          (list :annotation-function
                (lambda (name)
                  (let ((label (alist-get name annotations nil nil #'equal)))
                    (and label (concat "  " label)))))))
    (completing-read prompt (mapcar #'car annotations) nil t)))

(defun ingle--with-models (filter function)
  "Call FUNCTION with the connection and the models that FILTER accepts."
  (ingle--obtain
   (lambda (connection)
     (ingle--command
      connection "ingle.models" nil
      :then (lambda (models)
              (let ((models (cl-remove-if-not filter (append models nil))))
                ;; Not in a process filter, where nobody can answer.
                (run-at-time 0 nil (lambda ()
                                     (ingle--guarded
                                       (funcall function connection models))))))))))

(defun ingle-load-model ()
  "Choose a model and load it."
  (interactive)
  (ingle--with-models
   (lambda (model) (eq (plist-get model :installed) t))
   (lambda (connection models)
     (if (null models)
         (ingle--say "no model is installed: \"ingle pull\" in a shell gets one")
       (let ((name (ingle--read-model "Load model: " models)))
         (ingle--command connection "ingle.loadModel" (list :model name)
                         :then (lambda (_) (ingle--say "%s is loaded" name))))))))

(defun ingle-unload-model ()
  "Unload the model, so that its memory is free; of several choose one."
  (interactive)
  (ingle--with-models
   (lambda (model) (eq (plist-get model :resident) t))
   (lambda (connection models)
     (let ((name (and (cdr models) (ingle--read-model "Unload model: " models))))
       (ingle--command connection "ingle.unloadModel" (and name (list :model name))
                       :then (lambda (_)
                               (ingle--say "%s is unloaded" (or name "the model"))))))))

(defun ingle-set-effort (effort)
  "Set EFFORT for the model's thoughts in chats and about code."
  (interactive
   (list (intern (completing-read "Effort: " '("low" "medium" "high" "default") nil t))))
  (ingle--set-option 'ingle-effort (and (not (eq effort 'default)) effort))
  (ingle--say "effort: %s" effort))

(provide 'ingle-status)
;;; ingle-status.el ends here
