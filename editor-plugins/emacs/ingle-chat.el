;;; ingle-chat.el --- A chat with the model  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns what is asked and answered in a chat, a buffer for each thread.  The
;; server keeps the threads; other editors and `ingle ask --thread' continue
;; the same ones.  The list of them is `ingle-threads', how a chat is drawn
;; `ingle-chat-view'.

;;; Code:

(require 'cl-lib)
(require 'button)
(require 'ingle-connection)
(require 'ingle-document)
(require 'ingle-chat-view)

(declare-function ingle-mode "ingle")
(autoload 'ingle-threads "ingle-threads" nil t)
(autoload 'ingle-threads-delete-thread "ingle-threads")

(defcustom ingle-chat-show-analysis nil
  "Whether the model's reasoning is shown before its answers."
  :type 'boolean
  :group 'ingle)

(defvar ingle-chat--tokens (make-hash-table :test #'equal)
  "Chat buffers that wait for an answer, by token.")

(defvar ingle-chat--token 0
  "Number of the last token.")

(defvar-local ingle-chat--thread nil "The thread's name; nil before its first answer.")
(defvar-local ingle-chat--title nil "The thread's title.")
(defvar-local ingle-chat--model "" "The model that answered last.")
(defvar-local ingle-chat--speed 0 "Tokens a second of the last answer.")
(defvar-local ingle-chat--effort nil "Effort here; nil for `ingle-effort'.")
(defvar-local ingle-chat--context nil
  "What goes with the next question: lists (BUFFER START END).
START and END are markers, or nil for the whole buffer.")
(defvar-local ingle-chat--source nil "The buffer that the chat is about.")
(defvar-local ingle-chat--pending nil
  "The question that is being answered, a plist.
:connection, :id, :token, :question, :from (where the answer begins).")
(defvar ingle-chat-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "RET") #'ingle-chat-send)
    (define-key map (kbd "C-c C-c") #'ingle-chat-send)
    (define-key map (kbd "C-j") #'newline)
    (define-key map (kbd "S-<return>") #'newline)
    (define-key map (kbd "C-c C-k") #'ingle-chat-cancel)
    (define-key map (kbd "C-c C-a") #'ingle-chat-toggle-analysis)
    (define-key map (kbd "C-c C-e") #'ingle-chat-set-effort)
    (define-key map (kbd "C-c C-f") #'ingle-chat-add-buffer)
    (define-key map (kbd "C-c C-x") #'ingle-chat-clear-context)
    (define-key map (kbd "C-c C-n") #'ingle-chat-new)
    (define-key map (kbd "C-c C-t") #'ingle-threads)
    (define-key map (kbd "C-c C-d") #'ingle-chat-delete)
    (define-key map (kbd "C-c C-y") #'ingle-chat-apply)
    (define-key map (kbd "TAB") #'forward-button)
    (define-key map [backtab] #'backward-button)
    map)
  "Keymap of `ingle-chat-mode'.")

(define-derived-mode ingle-chat-mode text-mode "Ingle-Chat"
  "Mode of chats with the model.
The next question is written at the end of the buffer: \\<ingle-chat-mode-map>\\[ingle-chat-send] sends it,
\\[newline] begins a new line.

\\{ingle-chat-mode-map}"
  (ingle-chat--view-setup ingle-chat-show-analysis)
  (setq-local header-line-format '(:eval (ingle-chat--header)))
  (visual-line-mode 1)
  ;; Its keys and its lighter, without suggestions.
  (setq-local ingle-automatic nil)
  (when (fboundp 'ingle-mode)
    (ingle-mode 1))
  (add-hook 'kill-buffer-hook #'ingle-chat--killed nil t))

(defun ingle-chat--header ()
  "The header line."
  (string-join
   (delq nil
         (list (concat " " (or ingle-chat--title "New chat"))
               (unless (string-empty-p ingle-chat--model) ingle-chat--model)
               (let ((effort (or ingle-chat--effort ingle-effort)))
                 (and effort (format "effort %s" effort)))
               (cond (ingle-chat--pending
                      (format "answering, %s stops" (substitute-command-keys
                                                     "\\[ingle-chat-cancel]")))
                     ((> ingle-chat--speed 0)
                      (format "%.0f tokens/s" ingle-chat--speed)))))
   "  ·  "))

;;;; What goes with a question

(defun ingle-chat--prompt ()
  "Draw the prompt for the next question."
  (ingle-chat--draw-prompt (mapcar #'ingle-chat--label ingle-chat--context)))

(defun ingle-chat--label (part)
  "A name for PART, an element of `ingle-chat--context'."
  (pcase-let ((`(,buffer ,start ,end) part))
    (if (not (buffer-live-p buffer))
        "a buffer that is gone"
      (with-current-buffer buffer
        (concat (buffer-name)
                (when start
                  (format ":%d-%d" (line-number-at-pos start t)
                          (line-number-at-pos (max start (1- end)) t))))))))

(defun ingle-chat--uri-label (item)
  "A name for ITEM, a part of a turn's context in the server's words."
  (let ((range (plist-get item :range)))
    (concat (file-name-nondirectory (or (ingle--uri-file (plist-get item :uri))
                                        (plist-get item :uri)))
            (when range
              (format ":%d-%d" (1+ (plist-get (plist-get range :start) :line))
                      (1+ (plist-get (plist-get range :end) :line)))))))

;;;; Opening

;;;###autoload
(defun ingle-chat (&optional whole)
  "Chat about this buffer.
The region goes with the next question; with a prefix argument, WHOLE,
the whole buffer does."
  (interactive "P")
  (let* ((source (current-buffer))
         (part (cond ((use-region-p)
                      (list source (copy-marker (region-beginning))
                            (copy-marker (region-end) t)))
                     (whole (list source nil nil))))
         (refusal (and part (ingle--refusal)))
         (chat (or (ingle-chat--latest) (ingle-chat--make))))
    (if refusal
        (ingle--say "%s" refusal)
      (deactivate-mark)
      (with-current-buffer chat
        (unless (derived-mode-p 'ingle-chat-mode)
          (error "This is no chat"))
        (unless (eq source chat)
          (setq ingle-chat--source source))
        (when part
          (setq ingle-chat--context (append ingle-chat--context (list part)))
          (ingle-chat--prompt)))
      (pop-to-buffer chat)
      (goto-char (point-max)))))

;;;###autoload
(defun ingle-chat-new ()
  "Begin a new chat about this buffer."
  (interactive)
  (let ((source (if (derived-mode-p 'ingle-chat-mode) ingle-chat--source (current-buffer))))
    (pop-to-buffer (ingle-chat--make))
    (setq ingle-chat--source source)
    (goto-char (point-max))))

(defun ingle-chat--latest ()
  "The chat that was used last, or nil."
  (cl-find-if (lambda (buffer)
                (eq (buffer-local-value 'major-mode buffer) 'ingle-chat-mode))
              (buffer-list)))

(defun ingle-chat--make ()
  "A new buffer for a chat."
  (with-current-buffer (generate-new-buffer "*ingle chat*")
    (ingle-chat-mode)
    (ingle-chat--prompt)
    (current-buffer)))

(defun ingle-chat-open (thread)
  "Open THREAD, by its name."
  (let ((source (current-buffer))
        (open (cl-find-if (lambda (buffer)
                            (equal (buffer-local-value 'ingle-chat--thread buffer) thread))
                          (buffer-list))))
    (if open
        (progn (pop-to-buffer open) (goto-char (point-max)))
      (ingle--obtain
       (lambda (connection)
         (ingle--request connection :ingle/chat/thread (list :thread thread)
                         :then (lambda (found) (ingle-chat--show found source))))))))

(defun ingle-chat--show (thread source)
  "Show THREAD, in the server's words; SOURCE is where it was asked for."
  (with-current-buffer (ingle-chat--make)
    (ingle-chat--named (plist-get thread :thread) (plist-get thread :title))
    (unless (derived-mode-p 'ingle-chat-mode)
      (setq ingle-chat--source source))
    (cl-loop
     for turn across (plist-get thread :turns)
     for number from 0
     if (equal (plist-get turn :role) "user")
     do (ingle-chat--question (plist-get turn :text)
                              (mapcar #'ingle-chat--uri-label (plist-get turn :context)))
     else do
     (ingle-chat--answer-begins "")
     (let ((analysis (or (plist-get turn :analysis) "")))
       (unless (string-empty-p analysis)
         (ingle-chat--analysis (concat analysis "\n"))))
     (let ((from (marker-position ingle-chat--end)))
       (ingle-chat--insert (plist-get turn :text))
       (ingle-chat--fresh-line)
       (ingle-chat--finished from number (plist-get turn :blocks)))
     (ingle-chat--end-note (plist-get turn :finish)))
    (ingle-chat--prompt)
    (pop-to-buffer (current-buffer))
    (goto-char (point-max))))

(defun ingle-chat--named (thread title)
  "This is THREAD, with TITLE."
  (setq ingle-chat--thread thread
        ingle-chat--title title)
  (unless (string-match-p (regexp-quote title) (buffer-name))
    (rename-buffer (format "*ingle chat: %s*" title) 'unique)))

;;;; Asking

(defun ingle-chat-send ()
  "Send the question at the end of the buffer; on a button, press it."
  (interactive)
  (let ((question (string-trim (buffer-substring-no-properties ingle-chat--input
                                                               (point-max)))))
    (cond ((and (button-at (point)) (< (point) ingle-chat--input))
           (push-button))
          ((string-empty-p question) (ingle--say "there is no question"))
          (ingle-chat--pending
           (ingle--say (substitute-command-keys
                        "an answer is being made; \\[ingle-chat-cancel] stops it")))
          (t (ingle-chat--obtain (lambda (connection)
                                   (ingle-chat--ask connection question)))))))

(defun ingle-chat--obtain (function)
  "Call FUNCTION in this buffer with the connection for this chat."
  (let ((chat (current-buffer)))
    (with-current-buffer (if (buffer-live-p ingle-chat--source) ingle-chat--source chat)
      (ingle--obtain (lambda (connection)
                       (when (buffer-live-p chat)
                         (with-current-buffer chat
                           (funcall function connection))))))))

(defun ingle-chat--ask (connection question)
  "Ask CONNECTION the QUESTION, which is in the buffer."
  (let* ((token (format "ingle.el-chat-%d" (cl-incf ingle-chat--token)))
         (context (ingle-chat--lsp-context connection))
         (labels (mapcar #'ingle-chat--label ingle-chat--context)))
    (ingle-chat--writing
      (delete-region ingle-chat--input (point-max)))
    (setq ingle-chat--context nil)
    (ingle-chat--question question labels)
    (ingle-chat--answer-begins ingle-chat--model)
    (ingle-chat--prompt)
    (goto-char (point-max))
    (puthash token (current-buffer) ingle-chat--tokens)
    (setq ingle-chat--pending
          (list :connection connection :token token :question question
                :from (marker-position ingle-chat--end)))
    (plist-put
     ingle-chat--pending :id
     (ingle--request
      connection :ingle/chat
      (append (list :thread ingle-chat--thread :token token :text question
                    :context context)
              (let ((effort (or ingle-chat--effort ingle-effort)))
                (and effort (list :effort (symbol-name effort)))))
      :then (lambda (result) (ingle-chat--answered token result))
      :else (lambda (message code) (ingle-chat--failed token message code))))
    (force-mode-line-update)))

(defun ingle-chat--lsp-context (connection)
  "The context of the next question to CONNECTION, for the server."
  (vconcat
   (delq nil
         (mapcar
          (pcase-lambda (`(,buffer ,start ,end))
            (when (buffer-live-p buffer)
              (with-current-buffer buffer
                (when (ingle--sync)
                  (append (list :uri (plist-get (ingle--document) :uri))
                          (and start
                               (list :range (ingle--range start end connection))))))))
          ingle-chat--context))))

(defun ingle-chat--receive (_connection params)
  "Draw the piece of an answer in PARAMS."
  (let ((buffer (gethash (plist-get params :token) ingle-chat--tokens)))
    (when (buffer-live-p buffer)
      (with-current-buffer buffer
        (when (equal (plist-get params :token)
                     (plist-get ingle-chat--pending :token))
          (setq ingle-chat--thread (plist-get params :thread))
          (if (equal (plist-get params :channel) "analysis")
              (progn
                (ingle-chat--analysis (plist-get params :text))
                (plist-put ingle-chat--pending :from (marker-position ingle-chat--end)))
            (unless (plist-get ingle-chat--pending :begun)
              (ingle-chat--fresh-line)
              (plist-put ingle-chat--pending :from (marker-position ingle-chat--end))
              (plist-put ingle-chat--pending :begun t))
            (ingle-chat--insert (plist-get params :text))))))))

(defun ingle-chat--answered (token result)
  "The answer to the question of TOKEN is complete: RESULT."
  (remhash token ingle-chat--tokens)
  (let ((from (plist-get ingle-chat--pending :from)))
    (setq ingle-chat--pending nil
          ingle-chat--model (or (plist-get result :model) "")
          ingle-chat--speed (or (plist-get result :tokensPerSecond) 0))
    (ingle-chat--named (plist-get result :thread) (plist-get result :title))
    ;; What the server says counts, whatever was streamed.
    (unless (equal (buffer-substring-no-properties from ingle-chat--end)
                   (plist-get result :text))
      (ingle-chat--writing (delete-region from ingle-chat--end))
      (ingle-chat--insert (plist-get result :text)))
    (ingle-chat--fresh-line)
    (ingle-chat--finished from (plist-get result :turn) (plist-get result :blocks))
    (ingle-chat--end-note (plist-get result :finish))
    (let ((note (or (plist-get result :note) "")))
      (unless (string-empty-p note)
        (ingle-chat--insert (format "(%s)\n" note) 'face 'ingle-chat-note)))
    (ingle-chat--prompt)
    (force-mode-line-update)))

(defun ingle-chat--failed (token message code)
  "There is no answer to the question of TOKEN: MESSAGE, with CODE."
  (remhash token ingle-chat--tokens)
  (let* ((pending ingle-chat--pending)
         (nothing (= (plist-get pending :from) ingle-chat--end))
         (stopped (eql code -32800)))
    (setq ingle-chat--pending nil)
    (ingle-chat--fresh-line)
    (ingle-chat--insert (if stopped "(stopped)\n" (format "(%s)\n" message))
                        'face (if stopped 'ingle-chat-note 'error))
    (ingle-chat--prompt)
    (when (and nothing (= ingle-chat--input (point-max)))
      (save-excursion
        (goto-char (point-max))
        (insert (plist-get pending :question)))
      (when (= (point) ingle-chat--input)
        (goto-char (point-max))))
    (unless stopped
      (ingle--say "%s" message))
    (force-mode-line-update)))

(defun ingle-chat-cancel ()
  "Stop the answer that is being made."
  (interactive)
  (if ingle-chat--pending
      (ingle--cancel (plist-get ingle-chat--pending :connection)
                     (plist-get ingle-chat--pending :id))
    (ingle--say "no answer is being made")))

(defun ingle-chat--killed ()
  "Stop what is asked in this buffer, which is being killed."
  (when ingle-chat--pending
    (remhash (plist-get ingle-chat--pending :token) ingle-chat--tokens)
    (ignore-errors (ingle-chat-cancel))))

;;;; What else can be done

(defun ingle-chat-toggle-analysis ()
  "Show the model's reasoning, or hide it."
  (interactive)
  (if (member '(ingle-analysis . t) buffer-invisibility-spec)
      (remove-from-invisibility-spec '(ingle-analysis . t))
    (add-to-invisibility-spec '(ingle-analysis . t)))
  (force-window-update (current-buffer)))

(defun ingle-chat-set-effort (effort)
  "Let the model think with EFFORT in this chat."
  (interactive
   (list (intern (completing-read "Effort: " '("low" "medium" "high" "default") nil t))))
  (setq ingle-chat--effort (and (not (eq effort 'default)) effort))
  (force-mode-line-update))

(defun ingle-chat-add-buffer (buffer)
  "Have the whole of BUFFER go with the next question."
  (interactive (list (get-buffer (read-buffer "Ask about: " ingle-chat--source t))))
  (let ((refusal (with-current-buffer buffer (ingle--refusal))))
    (if refusal
        (ingle--say "%s" refusal)
      (setq ingle-chat--context (append ingle-chat--context (list (list buffer nil nil))))
      (ingle-chat--prompt))))

(defun ingle-chat-clear-context ()
  "Have nothing go with the next question."
  (interactive)
  (setq ingle-chat--context nil)
  (ingle-chat--prompt))

(defun ingle-chat-delete ()
  "Delete this thread and kill its buffer."
  (interactive)
  (let ((thread ingle-chat--thread)
        (chat (current-buffer)))
    (if (null thread)
        (kill-buffer)
      (when (y-or-n-p "Delete this chat? ")
        (ingle-threads-delete-thread thread (lambda () (kill-buffer chat)))))))

(defun ingle-chat--copy-button (button)
  "Copy the block of BUTTON."
  (kill-new (plist-get (cadr (button-get button 'ingle-block)) :text))
  (ingle--say "copied"))

(defun ingle-chat--apply-button (button)
  "Apply the block of BUTTON."
  (apply #'ingle-chat--apply (button-get button 'ingle-block)))

(defun ingle-chat-apply ()
  "Apply the code block at point, or the last one."
  (interactive)
  (let ((button (save-excursion
                  (or (button-at (point))
                      (ignore-errors (forward-button 1))
                      (progn (goto-char (point-max))
                             (ignore-errors (backward-button 1)))))))
    (if (and button (button-get button 'ingle-block))
        (ingle-chat--apply-button button)
      (ingle--say "there is no code to apply"))))

(defun ingle-chat--target (path)
  "The buffer to change: that of the file PATH if there is one.
Otherwise it is the one that the chat is about; ask where there is none."
  (or (ingle-chat--named-buffer path)
      (and (buffer-live-p ingle-chat--source) ingle-chat--source)
      (setq ingle-chat--source (get-buffer (read-buffer "Change buffer: " nil t)))))

(defun ingle-chat--named-buffer (path)
  "The buffer of the file PATH as a model writes it, or nil."
  (unless (string-empty-p path)
    (let ((end (concat "/" (string-remove-prefix "./" path))))
      (or (cl-find-if (lambda (buffer)
                        (and (buffer-file-name buffer)
                             (string-suffix-p end (buffer-file-name buffer))))
                      (buffer-list))
          (let* ((folder (and (buffer-live-p ingle-chat--source)
                              (buffer-local-value 'default-directory ingle-chat--source)))
                 (root (and folder (or (locate-dominating-file folder ".git") folder)))
                 (file (and root (expand-file-name path root))))
            (and file (file-regular-p file) (find-file-noselect file)))))))

(defun ingle-chat--apply (turn block)
  "Have the server apply BLOCK of TURN to the buffer that the chat is about."
  (let ((thread ingle-chat--thread))
    (with-current-buffer (ingle-chat--target (or (plist-get block :path) ""))
      (let ((refusal (or (and buffer-read-only (format "%s is read-only" (buffer-name)))
                         (ingle--refusal))))
        (if refusal
            (ingle--say "%s" refusal)
          (ingle--obtain
           (lambda (_)
             (let ((connection (ingle--sync))
                   (point (if (get-buffer-window) (window-point (get-buffer-window))
                            (point))))
               (ingle--request
                connection :ingle/chat/apply
                (append (list :thread thread :turn turn :block (plist-get block :index))
                        (ingle--document)
                        (list :range (if (region-active-p)
                                         (ingle--range (region-beginning) (region-end)
                                                       connection)
                                       (ingle--range point point connection))))
                :then (lambda (result)
                        (let ((message (or (plist-get result :message) "")))
                          (if (and (eq (plist-get result :applied) t)
                                   (string-empty-p message))
                              (ingle--say "applied to %s" (buffer-name))
                            (ingle--say "%s" message)))))))))))))

(provide 'ingle-chat)
;;; ingle-chat.el ends here
